"""A virtual machine beside a container: the same image in both, and what each costs.

    files.py         an image's files, as a virtual machine gets them
    sides.py         the two sides: started, asked, measured, ended
    measures.py      what is measured, and how
    experiment.py    all of it, in turns: ``compare``
    published.py     what others have measured, with the sources

Shown in notebook 08.
"""
