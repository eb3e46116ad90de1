//! Matrix products of views into slices, on the calling thread.

use gemm::Parallelism;

/// A matrix inside a slice: element `(row, column)` is at `row · row_stride + column · column_stride`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    // Invariant: holds every element of the matrix.
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Rows that lie `stride` apart, each with its elements side by side.
    pub(super) fn rows(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let length = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns };
        Self { values: &values[..length], rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// What a product does with what was in its output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Overwrite,
    Add,
}

/// `out = left · right`, or `out += left · right`; rows of `out` lie `stride` apart.
pub(super) fn multiply(
    left: View<'_>,
    right: View<'_>,
    out: &mut [f32],
    stride: usize,
    before: Before,
) {
    let (rows, columns) = (left.rows, right.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    assert_eq!(left.columns, right.rows, "the inner sizes of a product");
    let out = &mut out[..(rows - 1) * stride + columns];
    let step = |stride: usize| isize::try_from(stride).unwrap_or(isize::MAX);
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: `View` holds every element of its matrix, `out` was cut to exactly what the result
    // covers, the inner sizes were compared above, and `&mut` rules out that they overlap.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            step(stride),
            before == Before::Add,
            left.values.as_ptr(),
            step(left.column_stride),
            step(left.row_stride),
            right.values.as_ptr(),
            step(right.column_stride),
            step(right.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
