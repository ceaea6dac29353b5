"""What users may choose: said once for the commands, the Python functions and the pages. No torch here."""
