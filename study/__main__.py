"""``python -m sttp.study`` is the command `sttp`."""

from .cli import main

main()
