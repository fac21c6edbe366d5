"""What the tests of studies share: a tiny study, and made-up results that cost nothing."""

from sttp.study import Evaluation, Method, Result, Snapshot, Study, Timing

TINY = Study(
    name="tiny",
    methods=(Method("dense"), Method("sttp", "stiefel")),
    ranks=(2,),
    learning_rates=(0.01, 0.03),
    extensions=1,
    seeds=(0, 1),
    steps=6,
    batch_size=16,
    evaluations=2,
)


def made_up(run, score=0.5, loss=1.0, diverged_at=None, test=None, z=10.0):
    """A result with a given validation score and loss, as if the run had been made."""
    snapshot = Snapshot(run.steps, Evaluation(score, loss), 1e-7, {"conv1": (2.0, 1.0)})
    return Result(
        run=run,
        diverged_at=diverged_at,
        z=z,
        degrees_of_freedom=10,
        start_error=0.0,
        losses=(1.0,) * (run.steps if diverged_at is None else diverged_at),
        snapshots=(snapshot,) if diverged_at is None else (),
        test=None if diverged_at is not None else Evaluation(score if test is None else test, loss),
        timing=Timing((0.01,) * run.steps, 1.0, 2**28, 2**27, 1),
        environment={"torch": "0"},
    )
