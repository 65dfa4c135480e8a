"""The command line of actsim: commands parse, make one call, and print."""
