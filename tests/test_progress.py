from codeling.progress import SILENT


def test_silent_progress_accepts_every_call() -> None:
    with SILENT.task("label", 3, "bytes") as advance:
        advance(1)
        advance(2, "detail")
    SILENT.note("line")
