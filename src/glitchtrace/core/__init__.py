"""The frame: errors, files, paths, registry, configuration, grid, jobs, provenance.  Imports no science."""
