"""The linear model of sparse rows, against dense sums and the known optimum."""

import numpy as np

from quatrain.trainer.sparse_linear import SparseRows, fit_linear, outputs_of

ROWS = SparseRows(
    counts=np.array([2, 0, 1, 2, 0]),
    columns=np.array([0, 2, 1, 1, 2]),
    scales=np.array([1.0, 2.0, 0.5]),
    norms=np.array([1.0, 1.0, 0.5, 2.0, 1.0]),
)
DENSE = np.array([[1, 0, 0.5], [0, 0, 0], [0, 1, 0], [0, 4, 1], [0, 0, 0]])


def test_products_equal_those_of_the_dense_matrix_with_empty_rows_anywhere() -> None:
    weights, values = np.arange(6.0).reshape(3, 2), np.arange(10.0).reshape(5, 2)
    assert ROWS.times(weights).tolist() == (DENSE @ weights).tolist()
    assert ROWS.transposed_times(values).tolist() == (DENSE.T @ values).tolist()
    shares = np.array([0.1, 0.2, 0.3, 0.2, 0.2])
    np.testing.assert_allclose(ROWS.mean_squares(shares), shares @ DENSE**2)


def test_rows_without_any_entry_have_no_products() -> None:
    none = SparseRows(np.zeros(2, int), np.zeros(0, int), np.ones(3), np.ones(2))
    assert none.times(np.ones((3, 1))).tolist() == [[0.0], [0.0]]
    assert none.transposed_times(np.ones((2, 1))).tolist() == [[0.0]] * 3


def test_repeated_fits_come_near_the_solution_of_ridge_regression() -> None:
    target, penalty, n = np.array([1.0, -2.0, 0.5, 3.0, 0.0]), 0.1, 5

    def loss(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (z[:, 0] - target) ** 2, 2.0 * (z - target[:, None])

    x = np.zeros((7, 1))
    for _ in range(20):  # two blocks: the same columns twice share the weights
        x = fit_linear([ROWS, ROWS], loss, np.full(1, 2.0), np.full(n, 1 / n), penalty, x)
    design = np.column_stack([DENSE, DENSE, np.ones(n)])
    cost = np.diag([penalty * n / 2] * 6 + [0.0])
    solution = np.linalg.solve(design.T @ design + cost, design.T @ target)
    np.testing.assert_allclose(x[:, 0], solution, atol=5e-3)
    np.testing.assert_allclose(outputs_of([ROWS, ROWS], x)[:, 0], design @ x[:, 0])
