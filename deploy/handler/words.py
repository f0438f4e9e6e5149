"""A handler that counts the words of a text, as the README shows it."""

from workers.handlers import Job, Result


def count(job: Job) -> Result | None:
    """Write the number of words into ``words.txt``."""
    words = len(job.input.read_text().split())
    (job.output / "words.txt").write_text(f"{words}\n")
    return None  # publish every file in job.output
