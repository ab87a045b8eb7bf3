"""The figures, one module each: a drawing function over tables, and the stage that reads and writes files."""
