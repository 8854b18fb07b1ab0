"""Where images come from: embedded sets, files of the data root, folders."""
