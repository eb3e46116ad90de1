//! Larger images from small ones.

use candle_core::Tensor;

use crate::{
    NnError,
    tensor::{from_values, with_values},
};

/// Repeats every pixel twice in both directions.
///
/// Shape `(batch, height, width, channels)` → `(batch, 2 · height, 2 · width, channels)`.
///
/// # Errors
///
/// If the tensor has another rank, or isn't `f32` on the CPU.
pub fn upsample_nearest_2x(x: &Tensor) -> Result<Tensor, NnError> {
    let (height, width) = match x.dims() {
        &[_, height, width, _] => (2 * height, 2 * width),
        _ => (0, 0), // The call below says what's wrong.
    };
    upsample_nearest(x, height, width)
}

/// Scales to any size; an output pixel takes the input pixel `⌊index · input / output⌋`.
///
/// Shape `(batch, _, _, channels)` → `(batch, height, width, channels)`.
///
/// # Errors
///
/// If the tensor has another rank, or isn't `f32` on the CPU.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor, NnError> {
    let &[batch, rows, columns, channels] = x.dims() else {
        let expected = "(batch, height, width, channels)";
        return Err(NnError::shape("input of upsample", expected, x.dims()));
    };
    let length = if x.elem_count() == 0 { 0 } else { batch * height * width * channels };
    let mut out = Vec::with_capacity(length);
    if length != 0 {
        let from_columns = sources(columns, width);
        with_values(x, |x| {
            for image in x.chunks_exact(rows * columns * channels) {
                for row in sources(rows, height) {
                    let row = &image[row * columns * channels..][..columns * channels];
                    for column in &from_columns {
                        out.extend_from_slice(&row[column * channels..][..channels]);
                    }
                }
            }
        })?;
    }
    from_values(out, (batch, height, width, channels))
}

/// The input index of each output index along one side.
#[expect(clippy::integer_division, reason = "an index is rounded down")]
fn sources(input: usize, output: usize) -> Vec<usize> {
    (0..output).map(|index| index * input / output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_becomes_four() {
        let x = from_values(vec![1.0, -1.0, 2.0, -2.0], (1, 1, 2, 2)).unwrap();
        let y = upsample_nearest_2x(&x).unwrap();
        assert_eq!(y.dims(), [1, 2, 4, 2]);
        let row = [1.0, -1.0, 1.0, -1.0, 2.0, -2.0, 2.0, -2.0];
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [row, row].concat());
    }

    #[test]
    fn any_size_takes_the_pixel_at_the_left_and_top() {
        let x = from_values(vec![1.0, 2.0, 3.0, 4.0], (2, 1, 2, 1)).unwrap();
        let y = upsample_nearest(&x, 1, 3).unwrap();
        let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(y, [1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
        assert!(upsample_nearest_2x(&x.flatten_all().unwrap()).is_err());
    }
}
