//! What is done to the guided output of a network before a sampler gets it.

use candle_core::{D, Result, Tensor};

/// Gives the guided output of a network the spread of the conditional one, as far as `rescale` says:
/// section 3.4 of Lin et al. 2023 (arXiv:2305.08891), against overexposure by strong guidance.
///
/// With `rescale` 0 the output is `guided` itself, with 1 its standard deviation is that of
/// `conditional`, picture by picture. An output of one value all over has no spread to change, and
/// stays as it is.
///
/// Shape `(batch, …)` → the same shape.
///
/// # Errors
///
/// If the two shapes differ.
pub fn rescale_guidance(guided: &Tensor, conditional: &Tensor, rescale: f64) -> Result<Tensor> {
    if rescale <= 0.0 {
        return Ok(guided.clone());
    }
    if guided.dims() != conditional.dims() {
        return Err(candle_core::Error::ShapeMismatchBinaryOp {
            lhs: guided.shape().clone(),
            rhs: conditional.shape().clone(),
            op: "rescale_guidance",
        });
    }
    let flat = guided.flatten_from(1)?;
    let (std_guided, std_conditional) = (spread(&flat)?, spread(&conditional.flatten_from(1)?)?);
    let ratio = (std_conditional / &std_guided)?;
    let factor = ((ratio * rescale)? + (1.0 - rescale))?;
    let still = std_guided.le(0.0)?;
    let factor = still.where_cond(&factor.ones_like()?, &factor)?;
    flat.broadcast_mul(&factor)?.reshape(guided.shape())
}

/// The standard deviation of each picture, with Bessel's correction.
///
/// Shape `(batch, elements)` → `(batch, 1)`.
fn spread(flat: &Tensor) -> Result<Tensor> {
    flat.var_keepdim(D::Minus1)?.sqrt()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Shape};
    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;

    fn tensor(golden: &Golden, name: &str) -> Tensor {
        let (values, shape) = golden.tensor(name);
        Tensor::from_vec(values, Shape::from(shape), &Device::Cpu).unwrap()
    }

    #[test]
    fn rescaled_guidance_is_that_of_diffusers() {
        let golden = Golden::read(golden_path("sampler/sampler.safetensors"));
        let guided = tensor(&golden, "guidance.guided");
        let conditional = tensor(&golden, "guidance.conditional");
        for (rescale, name) in [(0.0, "guidance.0.0"), (0.7, "guidance.0.7"), (1.0, "guidance.1.0")]
        {
            let rescaled = rescale_guidance(&guided, &conditional, rescale).unwrap();
            let rescaled: Vec<f32> = rescaled.flatten_all().unwrap().to_vec1().unwrap();
            assert_close(name, &rescaled, &golden.tensor(name), 1e-6);
        }
    }

    #[test]
    fn what_has_no_spread_stays_and_other_shapes_are_refused() {
        let flat = Tensor::full(0.5_f32, (2, 3, 4), &Device::Cpu).unwrap();
        let rescaled = rescale_guidance(&flat, &flat, 1.0).unwrap();
        assert_eq!(rescaled.to_vec3::<f32>().unwrap(), flat.to_vec3::<f32>().unwrap());
        let other = Tensor::full(0.5_f32, (2, 4, 3), &Device::Cpu).unwrap();
        assert!(rescale_guidance(&flat, &other, 1.0).is_err());
    }
}
