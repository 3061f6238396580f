"""What the lab as a whole does on a machine: look it over, open JupyterLab, put everything back."""
