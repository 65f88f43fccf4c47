from __future__ import annotations

from io import BytesIO

from components.training.curves import training_curves


def test_losses_and_scores_have_their_panels() -> None:
    history = [
        {"epoch": 0, "learning_rate": 0.1, "loss": 2.0, "step": 1.0, "held_out_clip_macro_f1": 0.2},
        {"epoch": 1, "learning_rate": 0.1, "loss": 1.0, "step": 0.5, "held_out_clip_macro_f1": 0.4},
    ]
    figure = training_curves(history)
    losses, scores = figure.axes
    assert [line.get_label() for line in losses.lines] == ["loss", "step"]
    assert [line.get_label() for line in scores.lines] == ["clip macro f1"]
    assert list(scores.lines[0].get_ydata()) == [0.2, 0.4]
    picture = BytesIO()
    figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_a_training_without_held_out_clips_has_a_picture_too() -> None:
    assert len(training_curves([{"epoch": 0, "loss": 1.0}]).axes) == 2
