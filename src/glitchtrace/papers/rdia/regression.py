"""L2 logistic and softmax regression without intercept: objective, Hessian, and a fit to any weight and target.

A sample with targets t (K,), t_k ≥ 0, has the loss −Σ_k t_k ln φ_k.  One-hot targets are observed labels, w times
them weighted samples, zeros samples left out, and R's targets frozen relabelling; all are convex.  With X (n, d),
dense or sparse, and parameters θ (d, q),

    J(θ) = ½‖θ‖² + C Σ_i ℓ_i,     ∇ℓ_i = x_i ⊗ (T_i φ_i − t_i),     T_i = Σ_k t_ik,
    H = 1 + C Σ_i T_i (x_i x_iᵀ) ⊗ (diag φ_i − φ_i φ_iᵀ).

Two classes have one column of parameters (q = 1), φ_1 = σ(xᵀθ), with t_1 and φ_1(1 − φ_1) in the place of vector
and matrix; more have a column per class (q = K).  Since H ≥ 1, ‖θ − θ*‖ ≤ ‖∇J(θ)‖.  Source:
docs/methods/rdia.md#learner.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.solvers import Operator, conjugate_gradients, direct
from glitchtrace.papers.rdia.relabelling import relabelled_loss, relabelled_residuals

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Matrix: TypeAlias = np.ndarray | csr_matrix

KIND = "learner"
CARD = {
    "name": "logistic",
    "label": "logistic regression",
    "summary": "L2 logistic regression without intercept; softmax regression for more than two classes.",
    "settings": {
        "C": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Weight of the data against the regulariser ½‖θ‖².",
            "default": 0.1,
        },
        "units": {
            "enum": ["code", "mean"],
            "description": (
                "Units of the influence Φ, and so of α: with the sum of the validation gradients (`code`, of "
                "the published program and its α), or with their mean (`mean`)."
            ),
            "default": "code",
        },
        "solver": {
            "enum": ["cg", "direct", "lissa"],
            "description": "Inverse Hessian-vector product: conjugate gradients, Cholesky, or LiSSA.",
            "default": "cg",
        },
        "solver_settings": {
            "type": "object",
            "description": (
                "Of cg: `tolerance`, `limit`, `precondition`; of lissa: `scale`, `damping`, `depth`, `repeat`, "
                "`tolerance`, `seed`; direct has none."
            ),
            "additionalProperties": False,
            "properties": {
                "tolerance": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Relative residual (lissa: change) at which to end (1e-8; lissa: 0).",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Most products to take (20 times the parameters, at most 1000).",
                },
                "precondition": {
                    "type": "boolean",
                    "description": "Divide by the diagonal of the Hessian (true).",
                },
                "scale": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": (
                        "Bound of the eigenvalues of every sampled Hessian, by default "
                        "1 + C·n·max‖x‖²/4, with more than two classes 1 + C·n·max‖x‖²/2. It is safe and often "
                        "far too large; `depth` has to be several times scale, or the smallest directions of "
                        "the Hessian are missed: see `residual` of the fit."
                    ),
                },
                "damping": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Added to the Hessian, times scale (0).",
                },
                "depth": {"type": "integer", "minimum": 1, "description": "Steps of one run (5000)."},
                "repeat": {"type": "integer", "minimum": 1, "description": "Runs to take the mean of (1)."},
                "seed": {"type": "integer", "minimum": 0, "description": "Seed of the draws (0)."},
            },
            "default": {},
        },
    },
}


# Gradient norm at which a fit ends; it bounds the error of the parameters.
TOLERANCE = 1e-6
NEWTON_LIMIT = 100
MOVING_LIMIT = 10_000
# Up to this many parameters a Newton step is solved by Cholesky, above by conjugate gradients.
DENSE_LIMIT = 1000
BLOCK = 4096  # rows of X held dense at a time
_FLOOR = np.finfo(np.float64).tiny


def dense(rows: "Matrix") -> np.ndarray:
    """Rows as a dense matrix."""
    return rows if isinstance(rows, np.ndarray) else rows.toarray()


def squares(rows: "Matrix") -> "Matrix":
    """The square of every entry."""
    return rows**2 if isinstance(rows, np.ndarray) else rows.multiply(rows)


class Regression:
    """Regression of ``classes`` classes with the weight ``C`` of the data."""

    def __init__(self, classes: int, C: float) -> None:
        if classes < 2:
            raise GlitchtraceError(f"{classes} class; a regression needs at least 2")
        self.classes = classes
        self.C = C
        self.columns = 1 if classes == 2 else classes

    # --- the model ---------------------------------------------------------------------------------------------

    def probabilities(self, parameters: np.ndarray, X: "Matrix") -> np.ndarray:
        """φ (n, K) of rows X under ``parameters`` (d, q)."""
        logits = np.asarray(X @ parameters)
        if self.columns == 1:
            logits = np.hstack([np.zeros_like(logits), logits])
        logits = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        result: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
        return result

    def one_hot(self, labels: np.ndarray) -> np.ndarray:
        """Targets (n, K) of observed labels.  Raises GlitchtraceError for a label outside 0 … K−1."""
        self.check_labels(labels)
        targets = np.zeros((len(labels), self.classes))
        targets[np.arange(len(labels)), labels] = 1.0
        return targets

    def check_labels(self, labels: np.ndarray) -> None:
        """Raise GlitchtraceError for a label outside 0 … K−1."""
        wrong = (labels < 0) | (labels >= self.classes)
        if wrong.any():
            row = int(wrong.argmax())
            raise GlitchtraceError(
                f"label {labels[row]} of sample {row} is outside 0 … {self.classes - 1}; renumber the classes"
            )

    def residuals(self, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Gradient of each sample's loss with respect to its logits, T φ − t, (n, q)."""
        full = targets.sum(axis=1, keepdims=True) * probabilities - targets
        result: np.ndarray = full[:, -self.columns :]
        return result

    def gradient(self, parameters: np.ndarray, X: "Matrix", targets: np.ndarray) -> np.ndarray:
        """∇J (d, q)."""
        residuals = self.residuals(self.probabilities(parameters, X), targets)
        return parameters + self.C * np.asarray(X.T @ residuals)

    def objective(self, parameters: np.ndarray, X: "Matrix", targets: np.ndarray) -> float:
        """J."""
        logarithms = np.log(np.maximum(self.probabilities(parameters, X), _FLOOR))
        return 0.5 * float((parameters**2).sum()) - self.C * float((targets * logarithms).sum())

    def hessian(
        self,
        parameters: np.ndarray,
        X: "Matrix",
        totals: np.ndarray | None = None,
        precision: type[np.floating] = np.float64,
    ) -> Operator[np.ndarray]:
        """H at ``parameters``, over vectors of the d·q parameters in row order.

        ``totals``: T (n,), by default 1.  A sparse X stays sparse; the whole matrix is made when asked for, its
        products in ``precision``.
        """
        return _HessianOf(self, self.probabilities(parameters, X), X, totals, precision).hessian()

    # --- the fit -----------------------------------------------------------------------------------------------

    def fit(self, X: "Matrix", targets: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
        """The minimiser of J, (d, q), to a gradient norm of 1e-6, by Newton's method with backtracking.

        Starts from ``start`` or 0; the minimum is one.  Without a sample it is 0.  Raises GlitchtraceError for
        features that are not finite, and where Newton's method does not arrive.
        """
        parameters = np.zeros((X.shape[1], self.columns)) if start is None else start
        totals = targets.sum(axis=1)
        value = self.objective(parameters, X, targets)
        for _ in range(NEWTON_LIMIT):
            gradient = self.gradient(parameters, X, targets)
            norm = float(np.linalg.norm(gradient))
            if not np.isfinite(norm):
                raise GlitchtraceError(
                    "the features hold NaN or infinite values; fill them in or remove such rows"
                )
            if norm <= TOLERANCE:
                return parameters
            # Single precision costs half and still gives a direction of descent; the gradient decides the end.
            hessian = self.hessian(parameters, X, totals, np.float32)
            if hessian.size <= DENSE_LIMIT:
                step = direct(hessian, gradient.ravel()).vector
            else:
                # Superlinear convergence needs no more exact a step.
                step = conjugate_gradients(hessian, gradient.ravel(), tolerance=min(0.1, norm)).vector
            parameters, value = self._backtrack(
                parameters, value, gradient, step.reshape(gradient.shape), X, targets
            )
        raise GlitchtraceError(
            f"Newton's method: gradient norm {norm:.1e} after {NEWTON_LIMIT} steps; scale the features or lower C"
        )

    def _backtrack(
        self,
        parameters: np.ndarray,
        value: float,
        gradient: np.ndarray,
        step: np.ndarray,
        X: "Matrix",
        targets: np.ndarray,
    ) -> tuple[np.ndarray, float]:
        """The first of the steps 1, ½, ¼, … that lowers J enough, and J there."""
        slope = float((gradient * step).sum())
        length = 1.0
        while length > 1e-10:
            candidate = parameters - length * step
            reached = self.objective(candidate, X, targets)
            # Rounding of J must not stop the last steps.
            if reached <= value - 1e-4 * length * slope + 1e-12 * abs(value):
                return candidate, reached
            length /= 2
        return parameters - step, value

    def fit_moving(
        self, X: "Matrix", targets: np.ndarray, labels: np.ndarray, relabelled: np.ndarray, start: np.ndarray
    ) -> np.ndarray:
        """A minimum of J where the samples ``relabelled`` (n,) bool have R's loss −ln(1 − φ_m), (d, q).

        ``labels``: (n,) observed; ``targets``: (n, K) of the other samples, those of the relabelled are ignored.
        The target follows the parameters, so the objective is not convex and the minimum depends on ``start``,
        which RDIA takes from the first model.  With two classes this is the convex fit to flipped labels.  Raises
        GlitchtraceError where no minimum is reached.
        """
        if self.columns == 1:
            flipped = np.where(relabelled[:, None], self.one_hot(1 - labels), targets)
            return self.fit(X, flipped)
        from scipy.optimize import minimize

        fixed = np.where(relabelled[:, None], 0.0, targets)
        rows = np.flatnonzero(relabelled)

        def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
            parameters = flat.reshape(start.shape)
            probabilities = self.probabilities(parameters, X)
            residuals = self.residuals(probabilities, fixed)
            residuals[rows] += relabelled_residuals(probabilities[rows], labels[rows])
            logarithms = np.log(np.maximum(probabilities, _FLOOR))
            loss = -float((fixed * logarithms).sum())
            loss += float(relabelled_loss(probabilities[rows], labels[rows]).sum())
            gradient = parameters + self.C * np.asarray(X.T @ residuals)
            return 0.5 * float(flat @ flat) + self.C * loss, gradient.ravel()

        options = {"maxiter": MOVING_LIMIT, "maxfun": 2 * MOVING_LIMIT, "gtol": TOLERANCE, "ftol": 1e-14}
        found = minimize(value_and_gradient, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        norm = float(np.linalg.norm(found.jac))
        # A line search that rounding has ended is no success, but its point is a minimum.
        if not (found.success or norm <= 100 * TOLERANCE):
            raise GlitchtraceError(
                f"relabelled refit: gradient norm {norm:.1e} after {found.nit} steps; "
                "scale the features or lower C"
            )
        return np.asarray(found.x).reshape(start.shape)


def build(classes: int, settings: Mapping[str, Any]) -> Regression:
    """The regression for a number of classes."""
    return Regression(classes, settings["C"])


class _HessianOf:
    """The Hessian of J at one point."""

    def __init__(
        self,
        model: Regression,
        probabilities: np.ndarray,
        X: "Matrix",
        totals: np.ndarray | None,
        precision: type[np.floating],
    ) -> None:
        self._precision = precision
        self._C = model.C
        self._totals = np.ones(len(probabilities)) if totals is None else totals
        self._probabilities = probabilities[:, -model.columns :]
        self._X = X
        self._shape = (X.shape[1], model.columns)

    def hessian(self) -> Operator[np.ndarray]:
        return Operator(
            size=self._shape[0] * self._shape[1],
            product=self.product,
            dense=self.dense,
            diagonal=self.diagonal,
            sampled=self.sampled,
            bound=self.bound,
        )

    def product(self, vector: np.ndarray) -> np.ndarray:
        return self._product(vector, slice(None), self._C)

    def sampled(self, vector: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The product over 100 rows drawn at random, scaled up to all rows."""
        rows = rng.choice(len(self._totals), min(100, len(self._totals)), replace=False)
        return self._product(vector, rows, self._C * len(self._totals) / len(rows))

    def bound(self) -> float:
        """1 + C·n·max_i T_i‖x_i‖²·c, above the eigenvalues of H and of every sampled product.

        c is the largest eigenvalue that diag φ − φφᵀ can have: ½, and ¼ for the one column φ(1 − φ) of two classes.
        """
        largest = 0.25 if self._shape[1] == 1 else 0.5
        lengths = np.asarray(squares(self._X).sum(axis=1)).ravel()
        return 1 + self._C * len(lengths) * largest * float((self._totals * lengths).max(initial=0.0))

    def _product(self, vector: np.ndarray, rows: slice | np.ndarray, weight: float) -> np.ndarray:
        values = vector.reshape(self._shape)
        part = self._X if isinstance(rows, slice) else self._X[rows]
        probabilities = self._probabilities[rows]
        curved = probabilities * np.asarray(part @ values)
        curved -= probabilities * curved.sum(axis=1, keepdims=True)
        curved *= self._totals[rows, None]
        return vector + weight * np.asarray(part.T @ curved).ravel()

    def diagonal(self) -> np.ndarray:
        weights = self._totals[:, None] * self._probabilities * (1 - self._probabilities)
        return 1 + self._C * np.asarray(squares(self._X).T @ weights).ravel()

    def dense(self) -> np.ndarray:
        features, columns = self._shape
        matrix = np.empty((features, columns, features, columns))
        for first in range(columns):
            for second in range(first + 1):
                both = -self._probabilities[:, first] * self._probabilities[:, second]
                weights = both + (self._probabilities[:, first] if first == second else 0.0)
                block = self._C * self._gram(self._totals * weights)
                matrix[:, first, :, second] = matrix[:, second, :, first] = block
        square = matrix.reshape(features * columns, features * columns)
        square[np.diag_indices_from(square)] += 1
        return square

    def _gram(self, weights: np.ndarray) -> np.ndarray:
        """Xᵀ diag(weights) X, (d, d), from blocks of dense rows."""
        total = np.zeros((self._shape[0], self._shape[0]))
        # A matrix times its own transpose costs half of a general product.
        positive = bool((weights >= 0).all())
        left = np.sqrt(weights) if positive else weights
        for first in range(0, len(weights), BLOCK):
            rows = slice(first, first + BLOCK)
            part = dense(self._X[rows])
            scaled = (left[rows, None] * part).astype(self._precision, copy=False)
            total += scaled.T @ (scaled if positive else part.astype(self._precision, copy=False))
        return total
