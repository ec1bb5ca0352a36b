"""What `numrnn.fit` and its callbacks refuse."""

from functools import partial

import numpy as np
import pytest

import numrnn
from numrnn import callbacks, losses, optim
from tests.trainings import make_data, make_model, train


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "error", "text"),
        [
            ({"model": numrnn.GRU(2, 7)}, TypeError, "`model` should be a SequenceModel, got GRU"),
            ({"optimizer": "adam"}, TypeError, "`optimizer` should be an optimiser, got str 'adam'"),
            ({"optimizer": optim.Adam(make_model())}, ValueError, "`optimizer` was made for another model"),
            ({"loss": "mse"}, TypeError, "`loss` should be a function"),
            ({"epochs": -1}, ValueError, "`epochs` should be an int of 0 or more"),
            ({"batch_size": 0}, ValueError, "`batch_size` should be an int of 1 or more"),
            ({"bptt_steps": 0}, ValueError, "`bptt_steps` should be an int of 1 or more"),
            ({"max_norm": 0.0}, ValueError, "`max_norm` should be more than 0"),
            ({"progress": "yes"}, ValueError, '`progress` should be "auto", True or False'),
            ({"resume": True}, ValueError, "`resume` is True, but `checkpoint_path` is None"),
            ({"checkpoint_path": 3}, TypeError, "`checkpoint_path` should be a path"),
            (
                {"checkpoint_path": "/no/such/folder/a"},
                FileNotFoundError,
                "the folder '/no/such/folder' does not exist",
            ),
            ({"checkpoint_path": "/"}, IsADirectoryError, "is a folder"),
            ({"schedule": 0.1}, TypeError, "`schedule` should be a schedule"),
            ({"callbacks": [print]}, TypeError, "`callbacks` should hold Callbacks"),
            ({"validation": 0.2}, TypeError, "`validation` should be a tuple"),
            (
                {"validation": (np.zeros((11, 4, 3)), np.zeros((4, 1)))},
                ValueError,
                r"`validation\[0\]` has 3 features, `x` 2",
            ),
            ({"x": np.zeros((2, 3, 4, 5))}, ValueError, "`x` has 4 axes, expected 3"),
            ({"x": np.zeros((11, 0, 2)), "y": np.zeros((0, 1))}, ValueError, "`x` has no rows"),
            ({"y": np.zeros((22, 1))}, ValueError, "`y` has 22 rows, `x` 23"),
            ({"y": 1.0}, ValueError, "`y` has no axis, `x` 23"),
            ({"lengths": np.zeros(22, int)}, ValueError, r"`lengths` has dtype int64 and shape \(22,\)"),
            ({"lengths": np.full(23, 12)}, ValueError, r"`lengths\[0\]` is 12, expected 0 to 11"),
            ({"sample_weight": np.ones(22)}, ValueError, r"`sample_weight` has shape \(22,\), expected \(23,\)"),
            ({"sample_weight": -np.ones(23)}, ValueError, "`sample_weight` has entries that are negative"),
            ({"sample_weight": np.zeros(23)}, ValueError, "all of `sample_weight` is 0"),
            ({"x": [np.zeros((3, 2)), np.zeros((4, 3))]}, ValueError, r"differ in their number of features: \[2, 3\]"),
            ({"x": [np.zeros((3, 2)), np.zeros(4)]}, ValueError, r"`x\[1\]` has 1 axes, expected 2"),
            ({"x": [np.zeros((3, 2))] * 23, "lengths": np.full(23, 3)}, ValueError, "`lengths` was given with a list"),
        ],
    )
    def test_arguments_that_are_wrong(self, rng, change, error, text):
        x, y = make_data(rng)
        change = {"x": x, "y": y, **change}
        model = change.pop("model", None) or make_model()
        options = {"optimizer": optim.Adam(model)} | change
        with pytest.raises(error, match=text):
            train(model, **options)

    def test_targets_of_every_step_need_the_steps_of_x(self, rng):
        x, y = make_data(rng, "every")
        model = make_model(readout_on="every")
        with pytest.raises(ValueError, match=r"`y` has shape \(23, 11, 1\), expected \(11, 23\)"):
            train(model, x, y.swapaxes(0, 1))
        rows = [x[:5, k] for k in range(23)]
        with pytest.raises(TypeError, match="`y` should be a list of targets"):
            train(model, rows, y)
        with pytest.raises(ValueError, match=r"`y\[0\]` has shape \(4, 1\), expected 5 steps"):
            train(model, rows, [y[:4, 0]] * 23)
        with pytest.raises(ValueError, match="`x` has no steps"):
            train(model, x, y, lengths=np.zeros(23, int))

    def test_truncation_that_makes_no_sense_is_refused_with_the_reason(self, rng):
        x, y = make_data(rng)
        with pytest.raises(NotImplementedError, match="rows of different lengths do not end together"):
            train(make_model(), x, y, bptt_steps=3, lengths=rng.integers(1, 12, 23))
        with pytest.raises(NotImplementedError, match="bidirectional layer"):
            train(make_model(bidirectional=True), x, y, bptt_steps=3)

    def test_a_schedule_of_another_optimiser(self, rng):
        x, y = make_data(rng)
        model = make_model()
        schedule = optim.ReduceOnPlateau(optim.Adam(model))
        with pytest.raises(ValueError, match="`schedule` was made for another optimiser"):
            train(model, x, y, schedule=schedule)

    def test_monitors_and_counts_of_callbacks(self, rng):
        x, y = make_data(rng)
        with pytest.raises(ValueError, match="`patience` should be an int of 0 or more"):
            callbacks.EarlyStopping(patience=-1)
        with pytest.raises(ValueError, match="`min_delta` should be 0 or more"):
            callbacks.EarlyStopping(min_delta=-1.0)
        with pytest.raises(ValueError, match='`mode` should be "min" or "max"'):
            callbacks.EarlyStopping(mode="least")
        with pytest.raises(TypeError, match="`monitor` should be a name"):
            callbacks.EarlyStopping(monitor=3)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            callbacks.Checkpoint("/no/such/folder/a")
        with pytest.raises(ValueError, match=r"`monitor` 'val_loss' is not recorded"):
            train(make_model(), x, y, callbacks=[callbacks.EarlyStopping(monitor="val_loss")])

    def test_a_history_names_what_it_has(self, rng):
        x, y = make_data(rng)
        history = train(make_model(), x, y, loss=partial(losses.mse))
        assert dict(history).keys() == {"loss", "lr", "seconds"}
        assert "val_loss" not in history
        with pytest.raises(KeyError, match="'val_loss' was not recorded"):
            history["val_loss"]
