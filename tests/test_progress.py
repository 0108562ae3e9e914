from codeling.progress import SILENT


def test_silence_takes_everything() -> None:
    with SILENT.task("label", 3, "bytes") as advance:
        advance(1)
        advance(2, "detail")
    SILENT.note("line")
