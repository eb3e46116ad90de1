//! A fully connected layer.

use candle_core::Tensor;

use crate::{
    NnError,
    kernels::kernels,
    matrix::Matrix,
    tensor::{from_values, vector, with_values},
};

/// `y = x · weightᵀ + bias` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Matrix, // `(out, in)`
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Takes `weight` as PyTorch stores it: `(out, in)`, of `f32`, `f16` or `bf16`; `bias` is `(out,)`, of `f32`.
    ///
    /// # Errors
    ///
    /// If a shape or a type is another one, or a tensor isn't on the CPU.
    #[expect(clippy::needless_pass_by_value, reason = "a layer takes its weights over")]
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self, NnError> {
        let &[outputs, _] = weight.dims() else {
            return Err(NnError::shape("weight of linear", "(out, in)", weight.dims()));
        };
        let bias = bias.map(|bias| vector("bias of linear", &bias, outputs)).transpose()?;
        Ok(Self { weight: Matrix::of("weight of linear", &weight)?, bias })
    }

    /// The number of channels that go in.
    pub fn inputs(&self) -> usize {
        self.weight.inputs()
    }

    /// The number of channels that come out.
    pub fn outputs(&self) -> usize {
        self.weight.outputs()
    }

    /// Shape `(.., in)` → `(.., out)`.
    ///
    /// # Errors
    ///
    /// If the last dimension isn't `in`, or the tensor isn't `f32` on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        let mut shape = x.dims().to_vec();
        let (inputs, outputs) = (self.inputs(), self.outputs());
        match shape.last_mut() {
            Some(last) if *last == inputs => *last = outputs,
            _ => {
                return Err(NnError::shape("input of linear", format!("(.., {inputs})"), x.dims()));
            }
        }
        let mut out = vec![0.0; shape.iter().product()];
        with_values(x, |x| kernels().linear(x, &self.weight, self.bias.as_deref(), &mut out))?;
        from_values(out, shape)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::tensor::testing::{assert_near, pseudo_random};

    #[track_caller]
    fn check(rows: usize, inputs: usize, outputs: usize) {
        let x = pseudo_random(rows * inputs, 1);
        let weight = pseudo_random(outputs * inputs, 2);
        let bias = pseudo_random(outputs, 3);
        let mut expected = Vec::new();
        for row in 0..rows {
            for output in 0..outputs {
                let products = (0..inputs)
                    .map(|input| x[row * inputs + input] * weight[output * inputs + input]);
                expected.push(products.sum::<f32>() + bias[output]);
            }
        }
        let linear = Linear::new(
            from_values(weight, (outputs, inputs)).unwrap(),
            Some(from_values(bias, outputs).unwrap()),
        );
        let y = linear.unwrap().forward(&from_values(x, (rows, 1, inputs)).unwrap()).unwrap();
        assert_eq!(y.dims(), [rows, 1, outputs]);
        assert_near(&y, &expected);
    }

    #[test]
    fn every_output_is_its_dot_product() {
        check(1, 1, 1);
        check(3, 5, 7);
        check(1, 300, 200); // Few rows: columns in blocks.
        check(2, 33, 129);
        check(700, 20, 65); // Many rows: rows in blocks.
        check(77, 128, 512);
    }

    /// Few rows and many, tiles of all columns and of some, of more weights than are widened once.
    #[test]
    fn weights_of_sixteen_bits_multiply_as_the_same_ones_in_f32() {
        for (rows, inputs, outputs) in [(3, 700, 800), (300, 700, 800), (300, 6000, 100)] {
            let x = from_values(pseudo_random(rows * inputs, 1), (rows, inputs)).unwrap();
            let weight =
                from_values(pseudo_random(outputs * inputs, 2), (outputs, inputs)).unwrap();
            for dtype in [DType::F16, DType::BF16] {
                let narrow = weight.to_dtype(dtype).unwrap();
                let wide = narrow.to_dtype(DType::F32).unwrap();
                let [narrow, wide] = [narrow, wide].map(|weight| {
                    let y = Linear::new(weight, None).unwrap().forward(&x).unwrap();
                    y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                });
                assert!(narrow == wide, "{rows} {inputs} {outputs} {dtype:?}");
            }
        }
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let weight = from_values(vec![0.0; 6], (2, 3)).unwrap();
        let bias = from_values(vec![0.0; 3], 3).unwrap();
        let error = Linear::new(weight.clone(), Some(bias)).unwrap_err();
        assert_eq!(error.to_string(), "bias of linear: expected [2], got [3]");
        let x = from_values(vec![0.0; 8], (4, 2)).unwrap();
        let error = Linear::new(weight.clone(), None).unwrap().forward(&x).unwrap_err();
        assert_eq!(error.to_string(), "input of linear: expected (.., 3), got [4, 2]");
        assert!(Linear::new(weight.flatten_all().unwrap(), None).is_err());
    }
}
