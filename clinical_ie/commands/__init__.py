"""The subcommands; each module has one function ``run(arguments)`` and imports what it needs."""
