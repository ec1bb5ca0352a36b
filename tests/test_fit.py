"""`numrnn.fit`: what it computes and records, and what it tells."""

import numpy as np
import pytest

from numrnn import callbacks, losses, optim
from tests.trainings import assert_same_weights, make_data, make_model, train


class TestWhatIsComputed:
    def test_a_batch_of_all_rows_is_the_loop_written_by_hand(self, rng):
        x, y = make_data(rng)
        model, twin = make_model(), make_model()
        history = train(model, x, y, batch_size=23, epochs=4)
        adam, values = optim.Adam(twin, lr=0.02), []
        for _ in range(4):
            prediction, pullback = twin.vjp(x)
            value, d_prediction = losses.mse(prediction, y)
            adam.step(pullback(d_prediction, x_gradient=False))
            values.append(value)
        assert_same_weights(model, twin)
        assert history["loss"] == values

    def test_every_row_comes_once_in_each_epoch_and_in_another_order(self, rng):
        x, _ = make_data(rng)
        y = np.arange(23.0)[:, None]
        seen = []

        def loss(prediction, target, weight=None):
            seen.append(target[:, 0].copy())
            return losses.mse(prediction, target, weight=weight)

        train(make_model(), x, y, loss=loss, epochs=2)
        assert [len(batch) for batch in seen] == [8, 8, 7] * 2
        first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
        np.testing.assert_array_equal(np.sort(first), y[:, 0])
        np.testing.assert_array_equal(np.sort(second), y[:, 0])
        assert not np.array_equal(first, second)

    @pytest.mark.parametrize("readout_on", ["last", "every"])
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_a_list_is_the_padded_array_with_lengths(self, rng, readout_on, bidirectional):
        x, y = make_data(rng, readout_on)
        lengths = rng.integers(1, 12, 23)
        padding = np.arange(11)[:, None] >= lengths
        x[padding] = np.nan
        if readout_on == "every":
            y[padding] = np.nan
        padded, listed = (make_model(readout_on=readout_on, bidirectional=bidirectional) for _ in range(2))
        rows = [x[:n, k] for k, n in enumerate(lengths)]
        targets = [y[:n, k] for k, n in enumerate(lengths)] if readout_on == "every" else y
        left = train(padded, x, y, lengths=lengths)
        right = train(listed, rows, targets)
        assert left == right
        assert_same_weights(padded, listed)
        assert np.isfinite(left["loss"]).all()

    @pytest.mark.parametrize("readout_on", ["last", "every"])
    def test_batch_first_is_the_same_training(self, rng, readout_on):
        x, y = make_data(rng, readout_on)
        lengths = rng.integers(0, 12, 23)
        left = make_model(readout_on=readout_on, dtype="float64")
        right = make_model(readout_on=readout_on, dtype="float64", batch_first=True)
        train(left, x, y, lengths=lengths)
        train(right, x.swapaxes(0, 1), y.swapaxes(0, 1) if readout_on == "every" else y, lengths=lengths)
        for name, value in left.parameters.items():  # a head over all steps sums them in the order of memory
            np.testing.assert_allclose(value, right.parameters[name], rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("readout_on", ["last", "every"])
    def test_a_weight_counts_as_copies_and_zero_as_absence(self, rng, readout_on):
        x, y = make_data(rng, readout_on, rows=6)
        counts = np.array([1, 0, 3, 2, 1, 0])
        copies = np.repeat(np.arange(6), counts)
        left, right = (make_model(readout_on=readout_on, dtype="float64") for _ in range(2))
        history = train(left, x, y, sample_weight=counts)
        copied = train(right, x[:, copies], y[:, copies] if readout_on == "every" else y[copies])
        np.testing.assert_allclose(history["loss"], copied["loss"], rtol=1e-10)
        for name, value in left.parameters.items():
            np.testing.assert_allclose(value, right.parameters[name], atol=1e-9)

    def test_one_sequence_without_an_axis_of_rows(self, rng):
        x, y = make_data(rng, "every", rows=1)
        left, right = make_model(readout_on="every"), make_model(readout_on="every")
        train(left, x, y)
        train(right, x[:, 0], y[:, 0])
        assert_same_weights(left, right)

    def test_gradients_are_clipped_and_their_norm_recorded(self, rng):
        x, y = make_data(rng)
        model, twin = make_model(), make_model()
        history = train(model, x, y, optimizer=optim.Adam(model, lr=0.1), batch_size=23, epochs=1, max_norm=1e-3)
        prediction, pullback = twin.vjp(x)
        gradients = pullback(losses.mse(prediction, y)[1])
        clipped, norm = optim.clip_by_global_norm(gradients, 1e-3)
        optim.Adam(twin, lr=0.1).step(clipped)
        assert_same_weights(model, twin)
        assert history["gradient_norm"] == pytest.approx([norm])

    def test_recompute_changes_no_bit(self, rng):
        x, y = make_data(rng)
        left, right = make_model("LSTM"), make_model("LSTM")
        train(left, x, y)
        train(right, x, y, recompute=True)
        assert_same_weights(left, right)

    def test_validation_is_the_mean_over_its_rows(self, rng):
        x, y = make_data(rng, "every")
        lengths = rng.integers(0, 12, 23)
        weight = rng.random(23)
        model = make_model(readout_on="every")
        history = train(model, x, y, validation=(x, y, lengths, weight), epochs=1)
        prediction = model(x, lengths=lengths)
        spread = np.where(np.arange(11)[:, None] < lengths, weight, 0.0)
        value, _ = losses.mse(prediction, y, weight=spread)
        assert history["val_loss"] == pytest.approx([value], rel=1e-6)


class TestTruncation:
    def test_pieces_carry_the_state_and_cut_the_gradient(self, rng):
        x, y = make_data(rng, "every")
        lengths = rng.integers(0, 12, 23)
        model, twin = make_model("LSTM", "every"), make_model("LSTM", "every")
        train(model, x, y, batch_size=23, epochs=2, bptt_steps=4, lengths=lengths)
        adam, steps = optim.Adam(twin, lr=0.02), int(lengths.max())
        for _ in range(2):
            state = None
            for begin in range(0, steps, 4):
                piece = slice(begin, min(begin + 4, steps))
                left = np.clip(lengths - begin, 0, piece.stop - begin)
                (prediction, state), pullback = twin.vjp(x[piece], state, lengths=left, return_state=True)
                valid = (np.arange(piece.stop - begin)[:, None] < left).astype(float)
                d_prediction = losses.mse(prediction, y[piece], weight=valid)[1]
                adam.step(pullback(d_prediction, x_gradient=False))
        assert_same_weights(model, twin)

    def test_on_the_last_state_gradients_reach_back_so_many_steps(self, rng):
        x, y = make_data(rng)
        model, twin = make_model("LSTM"), make_model("LSTM")
        train(model, x, y, batch_size=23, epochs=1, bptt_steps=4)
        _, state = twin(x[:7], return_state=True)
        prediction, pullback = twin.vjp(x[7:], state)
        optim.Adam(twin, lr=0.02).step(pullback(losses.mse(prediction, y)[1]))
        assert_same_weights(model, twin)

    def test_pieces_longer_than_the_series_change_nothing(self, rng):
        x, y = make_data(rng, "every")
        left, right = make_model(readout_on="every"), make_model(readout_on="every")
        train(left, x, y)
        train(right, x, y, bptt_steps=100)
        assert_same_weights(left, right)

    def test_validation_of_pieces_is_validation_of_the_whole(self, rng):
        x, y = make_data(rng, "every")
        model = make_model(readout_on="every")
        history = train(model, x, y, bptt_steps=4, epochs=1, validation=(x, y))
        assert history["val_loss"] == pytest.approx([losses.mse(model(x), y)[0]], rel=1e-6)


class TestRepeating:
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_one_seed_gives_one_result_on_any_number_of_threads(self, rng, n_threads):
        x, y = make_data(rng, rows=70)
        first, second = (make_model("LSTM", hidden=33, num_layers=2, dropout=0.3) for _ in range(2))
        left = train(first, x, y, batch_size=64, n_threads=1)
        right = train(second, x, y, batch_size=64, n_threads=n_threads)
        assert left == right
        assert_same_weights(first, second)

    def test_without_a_seed_one_is_drawn_and_told(self, rng):
        x, y = make_data(rng)
        first, second = make_model(), make_model()
        history = train(first, x, y, seed=None)
        train(second, x, y, seed=history.seed)
        assert_same_weights(first, second)


class TestSchedules:
    def test_a_schedule_of_batches_moves_after_each(self, rng):
        x, y = make_data(rng)
        model = make_model()
        adam = optim.Adam(model, lr=0.1)
        schedule = optim.WarmupCosine(adam, warmup_steps=2, total_steps=9)
        seen = []

        class Note(callbacks.Callback):
            def on_batch_end(self, run):
                seen.append(run.optimizer.lr)

        history = train(model, x, y, optimizer=adam, schedule=schedule, callbacks=[Note()])
        twin = optim.Adam(model, lr=0.1)
        other = optim.WarmupCosine(twin, warmup_steps=2, total_steps=9)
        expected = []
        for _ in range(9):
            other.step()
            expected.append(twin.lr)
        assert seen == expected
        assert history["lr"] == expected[2::3]

    def test_a_plateau_lowers_the_rate(self, rng):
        x, y = make_data(rng)
        model = make_model()
        adam = optim.Adam(model, lr=0.0)
        adam.lr = 1e-30
        schedule = optim.ReduceOnPlateau(adam, factor=0.5, patience=1)
        history = train(model, x, y, optimizer=adam, schedule=schedule, batch_size=23, epochs=6)
        assert history["lr"][-1] < history["lr"][0]


class TestProgress:
    def test_lines_tell_epochs_and_nothing_goes_to_stdout(self, rng, capsys):
        x, y = make_data(rng)
        train(make_model(), x, y, progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert "epoch 3 of 3, loss" in err

    def test_silence_is_silent(self, rng, capsys):
        x, y = make_data(rng)
        train(make_model(), x, y, progress=False)
        assert capsys.readouterr() == ("", "")

    def test_the_bar_ends_where_the_epochs_end(self, capsys):
        tqdm = pytest.importorskip("tqdm").tqdm
        progress = pytest.importorskip("numrnn.training.progress")
        bar = progress.Bar(tqdm, "fit", 3, 1)
        for epoch in (2, 3):
            for batch in (1, 2):
                bar.batch(batch, 2, epoch, 0.5)
            bar.epoch(epoch, {"loss": 0.5, "lr": 0.1, "seconds": 1.0})
        assert bar._bar.n == 3
        bar.close()
        assert "loss 0.5" in capsys.readouterr().err
