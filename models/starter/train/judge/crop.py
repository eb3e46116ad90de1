"""What a judge gets to see: the window of a box as `(5, 144, 96)` numbers, the same as `troupe-audit` cuts out.

The window is the box and an eighth of its sides around it, resized by a triangle filter as wide as a pixel of the
larger of the two grids. Colours go from -1 to 1, and are 0 beyond the picture's edge. Two more channels say how much of
a pixel the boxes in front of this one cover, and those behind it: whoever stands there is somebody else's business.
"""
import numpy as np

WIDTH, HEIGHT, MARGIN = 96, 144, 1 / 8
MOST = 8  # other boxes that are kept with a crop


def window(box):
    """The box (left, top, right, bottom) with its margin."""
    left, top, right, bottom = box
    x, y = (right - left) * MARGIN, (bottom - top) * MARGIN
    return left - x, top - y, right + x, bottom + y


def filters(start, end, cells, pixels):
    """Weights `(cells, pixels)` by which the pixels from `start` to `end` become so many cells."""
    step = (end - start) / cells
    support = max(step, 1)
    centre = start + (np.arange(cells) + .5) * step
    first, last = int(np.floor(start - support)) - 1, int(np.ceil(end + support)) + 1
    weight = np.maximum(0, 1 - np.abs(np.arange(first, last) + .5 - centre[:, None]) / support)
    weight /= weight.sum(1, keepdims=True)
    out = np.zeros((cells, pixels))
    low, high = max(first, 0), min(last, pixels)
    if low < high:
        out[:, low:high] = weight[:, low - first:high - first]
    return out


def colours(image, box):
    """Bytes `(height, width, 3)` of a picture to `(144, 96, 3)` from -1 to 1."""
    left, top, right, bottom = window(box)
    rows = filters(top, bottom, HEIGHT, image.shape[0]).astype("float32")
    columns = filters(left, right, WIDTH, image.shape[1]).astype("float32")
    # Only what the window touches; what lies beyond the picture has no weight.
    high, low = np.flatnonzero(rows.any(0))[[0, -1]]
    first, last = np.flatnonzero(columns.any(0))[[0, -1]]
    part = image[high:low + 1, first:last + 1].astype("float32") / 127.5 - 1
    down = rows[:, high:low + 1] @ part.reshape(len(part), -1)  # (144, columns of the picture · 3)
    return np.tensordot(columns[:, first:last + 1], down.reshape(HEIGHT, -1, 3), (1, 1)).transpose(1, 0, 2)


def inside(box, other):
    """Another box in the window's unit square."""
    left, top, right, bottom = window(box)
    wide, tall = right - left, bottom - top
    return (other[0] - left) / wide, (other[1] - top) / tall, (other[2] - left) / wide, (other[3] - top) / tall


def covered(others):
    """How much of each pixel the boxes cover, `(144, 96)`: of several, the one that covers most."""
    out = np.zeros((HEIGHT, WIDTH), dtype="float32")
    for left, top, right, bottom in others:
        part = lambda a, b, n: np.clip(np.minimum(b * n, np.arange(n) + 1) - np.maximum(a * n, np.arange(n)), 0, 1)
        out = np.maximum(out, part(top, bottom, HEIGHT)[:, None] * part(left, right, WIDTH)[None])
    return out


def crop(image, box, front, behind):
    """All five channels, `(5, 144, 96)`."""
    masks = [covered([inside(box, it) for it in boxes]) for boxes in (front, behind)]
    return np.concatenate([colours(image, box).transpose(2, 0, 1), np.stack(masks)]).astype("float32")
