"""``python -m sttp.study`` is the command `sttp`."""

from .command_line import main

main()
