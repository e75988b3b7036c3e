"""Gold documents against predicted ones, by named rule sets; plain data in, plain data out."""
