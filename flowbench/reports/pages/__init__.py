"""What all pages share: the template environment, the index of a folder, and the server that shows it."""
