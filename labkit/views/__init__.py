"""Pictures of what the kernel holds, for notebooks: one view a file.

    >>> from labkit.views.namespaces import NamespaceTree
    >>> NamespaceTree(notebook="self", box=box.pid)

Every view reads the machine itself and shows the same facts in three forms: a widget with buttons (a mouse or the
keyboard: Tab and Space), text (``print(view)``, what a screen reader and nbval get) and a figure (``view.figure()``, for
print). What colour says, words say too.
"""
