"""The pytest side: options, the matrix of cells, and the plugin that runs and reports them."""
