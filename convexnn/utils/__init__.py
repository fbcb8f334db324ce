"""What all the others use: the clock of a call, threads and kernels, checks of arguments, progress, files."""

__all__: list[str] = []
