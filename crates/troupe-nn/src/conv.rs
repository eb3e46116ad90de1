//! A two-dimensional convolution.

use candle_core::Tensor;

use crate::{
    NnError,
    kernels::{Convolution, Padding, kernels},
    matrix::Matrix,
    tensor::{from_values, vector, with_values},
};

/// A convolution with a square stride.
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Matrix, // `(out, kernel height · kernel width · in)`
    bias: Option<Vec<f32>>,
    channels: usize,
    kernel: (usize, usize),
    // Invariant: at least 1.
    stride: usize,
    padding: Padding,
}

impl Conv2d {
    /// Takes `weight` as PyTorch stores it: `(out, in, kernel height, kernel width)`, of `f32`,
    /// `f16` or `bf16`; `bias` is `(out,)`, of `f32`. `padding` is a number for all sides, or a
    /// [`Padding`].
    ///
    /// # Errors
    ///
    /// If a shape or a type is another one, the stride is zero, or a tensor isn't on the CPU.
    #[expect(clippy::needless_pass_by_value, reason = "a layer takes its weights over")]
    pub fn new(
        weight: Tensor,
        bias: Option<Tensor>,
        stride: usize,
        padding: impl Into<Padding>,
    ) -> Result<Self, NnError> {
        let wrong =
            || NnError::shape("weight of conv2d", "(out, in, height, width)", weight.dims());
        let &[outputs, channels, kernel_height, kernel_width] = weight.dims() else {
            return Err(wrong());
        };
        if kernel_height == 0 || kernel_width == 0 {
            return Err(wrong());
        }
        if stride == 0 {
            let expected = "at least 1".to_owned();
            return Err(NnError::Setting { what: "stride of conv2d", expected, found: stride });
        }
        let bias = bias.map(|bias| vector("bias of conv2d", &bias, outputs)).transpose()?;
        Ok(Self {
            weight: Matrix::of("weight of conv2d", &weight)?,
            bias,
            channels,
            kernel: (kernel_height, kernel_width),
            stride,
            padding: padding.into(),
        })
    }

    /// The number of channels that go in.
    pub fn inputs(&self) -> usize {
        self.channels
    }

    /// The number of channels that come out.
    pub fn outputs(&self) -> usize {
        self.weight.outputs()
    }

    /// Shape `(batch, height, width, in)` → `(batch, out height, out width, out)`.
    ///
    /// # Errors
    ///
    /// If the channels are others, the image is smaller than the kernel, or the tensor isn't
    /// `f32` on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        self.convolve(x, self.bias.as_deref())
    }

    /// [`forward`](Self::forward) with `shift`, `(out,)`, added to every pixel on top of the bias.
    ///
    /// Shape `(batch, height, width, in)` → `(batch, out height, out width, out)`.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward), and if `shift` has another shape.
    pub fn forward_shifted(&self, x: &Tensor, shift: &Tensor) -> Result<Tensor, NnError> {
        let mut shift = vector("shift of conv2d", shift, self.outputs())?;
        for (shift, bias) in shift.iter_mut().zip(self.bias.iter().flatten()) {
            *shift += bias;
        }
        self.convolve(x, Some(&shift))
    }

    fn convolve(&self, x: &Tensor, bias: Option<&[f32]>) -> Result<Tensor, NnError> {
        let wrong = |expected: String| NnError::shape("input of conv2d", expected, x.dims());
        let channels = self.channels;
        let &[batch, height, width, found] = x.dims() else {
            return Err(wrong(format!("(batch, height, width, {channels})")));
        };
        if found != channels {
            return Err(wrong(format!("(batch, height, width, {channels})")));
        }
        let Padding { top, left, bottom, right } = self.padding;
        let out_height = self.steps(height + top + bottom, self.kernel.0);
        let out_width = self.steps(width + left + right, self.kernel.1);
        let (Some(out_height), Some(out_width)) = (out_height, out_width) else {
            return Err(wrong(format!("an image that the {:?} kernel fits into", self.kernel)));
        };
        let shape = Convolution {
            batch,
            height,
            width,
            channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            out_height,
            out_width,
        };
        let mut out = vec![0.0; batch * out_height * out_width * self.outputs()];
        with_values(x, |x| kernels().conv2d(x, &shape, &self.weight, bias, &mut out))?;
        from_values(out, (batch, out_height, out_width, self.outputs()))
    }

    /// How many steps a kernel makes over a padded side; `None` if it doesn't fit.
    #[expect(clippy::integer_division, reason = "the kernel makes whole steps")]
    fn steps(&self, side: usize, kernel: usize) -> Option<usize> {
        Some(side.checked_sub(kernel)? / self.stride + 1)
    }
}

#[cfg(test)]
#[expect(clippy::integer_division, reason = "shapes are whole numbers")]
mod tests {
    use super::*;
    use crate::tensor::testing::{assert_near, pseudo_random};

    /// `[batch, height, width, in]`, `[out, kernel height, kernel width]`.
    #[track_caller]
    fn check(image: [usize; 4], kernel: [usize; 3], stride: usize, padding: Padding) {
        let [batch, height, width, inputs] = image;
        let [outputs, kernel_height, kernel_width] = kernel;
        let x = pseudo_random(batch * height * width * inputs, 1);
        let weight = pseudo_random(outputs * inputs * kernel_height * kernel_width, 2);
        let bias = pseudo_random(outputs, 3);
        let out_height = (height + padding.top + padding.bottom - kernel_height) / stride + 1;
        let out_width = (width + padding.left + padding.right - kernel_width) / stride + 1;
        let mut expected = Vec::new();
        for (b, y, x_out, o) in (0..batch).flat_map(|b| {
            (0..out_height).flat_map(move |y| {
                (0..out_width).flat_map(move |x| (0..outputs).map(move |o| (b, y, x, o)))
            })
        }) {
            let mut sum = bias[o];
            for dy in 0..kernel_height {
                for dx in 0..kernel_width {
                    let (row, column) = (y * stride + dy, x_out * stride + dx);
                    let inside = padding.top <= row
                        && row < padding.top + height
                        && padding.left <= column
                        && column < padding.left + width;
                    if !inside {
                        continue;
                    }
                    let (row, column) = (row - padding.top, column - padding.left);
                    for i in 0..inputs {
                        let pixel = x[((b * height + row) * width + column) * inputs + i];
                        let tap = ((o * inputs + i) * kernel_height + dy) * kernel_width + dx;
                        sum += pixel * weight[tap];
                    }
                }
            }
            expected.push(sum);
        }
        let weight = from_values(weight, (outputs, inputs, kernel_height, kernel_width)).unwrap();
        let bias = from_values(bias, outputs).unwrap();
        let conv = Conv2d::new(weight, Some(bias), stride, padding).unwrap();
        let y = conv.forward(&from_values(x, (batch, height, width, inputs)).unwrap()).unwrap();
        assert_eq!(y.dims(), [batch, out_height, out_width, outputs]);
        assert_near(&y, &expected);
    }

    #[test]
    fn every_pixel_is_its_window() {
        check([1, 1, 1, 1], [1, 1, 1], 1, 0.into());
        check([2, 5, 7, 3], [4, 3, 3], 1, 1.into());
        check([2, 5, 7, 3], [4, 3, 3], 1, 0.into());
        check([2, 6, 4, 3], [5, 3, 3], 2, 1.into());
        check([1, 5, 3, 2], [3, 3, 3], 2, 1.into());
        check([2, 6, 8, 3], [2, 3, 3], 2, Padding::RIGHT_AND_BOTTOM);
        check([1, 4, 6, 5], [7, 1, 1], 1, 0.into());
        check([1, 4, 6, 5], [7, 1, 1], 2, 0.into());
        check([1, 4, 6, 2], [3, 1, 3], 1, Padding { left: 1, right: 1, ..Padding::default() });
        check([1, 1, 2, 2], [2, 3, 3], 1, 2.into()); // A kernel that hangs out on both sides.
        check([2, 24, 40, 8], [9, 3, 3], 1, 1.into()); // Many rows: rows in blocks.
        check([1, 4, 4, 64], [130, 3, 3], 1, 1.into()); // Few rows: columns in blocks.
    }

    #[test]
    fn a_shift_adds_to_the_bias() {
        let weight = || from_values(vec![2.0, 3.0], (2, 1, 1, 1)).unwrap();
        let vector = |a: f32, b: f32| from_values(vec![a, b], 2).unwrap();
        let x = from_values(vec![1.0, 10.0], (1, 2, 1, 1)).unwrap();
        let check = |bias: Option<Tensor>, expected: [f32; 4]| {
            let conv = Conv2d::new(weight(), bias, 1, 0).unwrap();
            let y = conv.forward_shifted(&x, &vector(100.0, 200.0)).unwrap();
            assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected);
            assert!(conv.forward_shifted(&x, &x).is_err());
        };
        check(None, [102.0, 203.0, 120.0, 230.0]);
        check(Some(vector(0.5, -0.5)), [102.5, 202.5, 120.5, 229.5]);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let weight = from_values(vec![0.0; 36], (2, 2, 3, 3)).unwrap();
        let conv = Conv2d::new(weight.clone(), None, 1, 0).unwrap();
        let error = conv.forward(&from_values(vec![0.0; 8], (1, 2, 2, 2)).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "input of conv2d: expected an image that the (3, 3) kernel fits into, got [1, 2, 2, 2]"
        );
        assert!(conv.forward(&from_values(vec![0.0; 48], (1, 4, 4, 3)).unwrap()).is_err());
        let error = Conv2d::new(weight, None, 0, 1).unwrap_err();
        assert_eq!(error.to_string(), "stride of conv2d must be at least 1, got 0");
    }
}
