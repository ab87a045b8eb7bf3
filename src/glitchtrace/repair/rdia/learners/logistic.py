"""L2 logistic regression without intercept; softmax regression where there are more than two classes."""

CARD = {
    "label": "logistic regression",
    "summary": "L2 logistic regression without intercept, softmax regression for more than two classes.",
    "settings": {"C": {"type": "number", "description": "x", "default": 0.1}},
}
