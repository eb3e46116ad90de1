//! Functions of single elements, and sums.

use candle_core::Tensor;

use crate::{
    NnError, cpu,
    tensor::{from_values, with_values},
};

/// `x · sigmoid(x)`, of any shape.
///
/// # Errors
///
/// If the tensor isn't `f32` on the CPU.
pub fn silu(x: &Tensor) -> Result<Tensor, NnError> {
    map(x, cpu::silu)
}

/// `x · Φ(x)` with the distribution function Φ of the normal distribution, not its approximation
/// by tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415); of any shape.
///
/// # Errors
///
/// If the tensor isn't `f32` on the CPU.
pub fn gelu(x: &Tensor) -> Result<Tensor, NnError> {
    map(x, cpu::gelu)
}

/// `x · sigmoid(1.702 · x)`, as the text encoder of CLIP ViT-L has it; of any shape.
///
/// # Errors
///
/// If the tensor isn't `f32` on the CPU.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor, NnError> {
    map(x, cpu::quick_gelu)
}

/// The first half of the channels times [`gelu`] of the second (Shazeer 2020, arXiv:2002.05202).
///
/// Shape `(.., 2 · channels)` → `(.., channels)`.
///
/// # Errors
///
/// If the last dimension is odd or missing, or the tensor isn't `f32` on the CPU.
pub fn geglu(x: &Tensor) -> Result<Tensor, NnError> {
    let mut shape = x.dims().to_vec();
    let channels = match shape.last_mut() {
        Some(last) if last.is_multiple_of(2) => {
            *last >>= 1;
            *last
        }
        _ => return Err(NnError::shape("input of geglu", "(.., 2 · channels)", x.dims())),
    };
    let mut out = vec![0.0; shape.iter().product()];
    with_values(x, |x| cpu::geglu(x, channels, &mut out))?;
    from_values(out, shape)
}

/// The sum of two tensors of the same shape, on the threads of all other layers.
///
/// # Errors
///
/// If the shapes differ, or a tensor isn't `f32` on the CPU.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor, NnError> {
    if x.dims() != y.dims() {
        return Err(NnError::shape("second term of a sum", format!("{:?}", x.dims()), y.dims()));
    }
    let mut out = vec![0.0; x.elem_count()];
    with_values(x, |x| with_values(y, |y| cpu::add(x, y, &mut out)))??;
    from_values(out, x.dims())
}

fn map(x: &Tensor, function: fn(&[f32], &mut [f32])) -> Result<Tensor, NnError> {
    let mut out = vec![0.0; x.elem_count()];
    with_values(x, |x| function(x, &mut out))?;
    from_values(out, x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Vec<f32> {
        (-1000..=1000_i16).map(|step| f32::from(step) / 80.0).chain([-200.0, 200.0, 0.0]).collect()
    }

    #[track_caller]
    fn check(function: fn(&Tensor) -> Result<Tensor, NnError>, exact: impl Fn(f64) -> f64) {
        let points = points();
        let y = function(&from_values(points.clone(), points.len()).unwrap()).unwrap();
        for (x, y) in points.into_iter().zip(y.to_vec1::<f32>().unwrap()) {
            let exact = exact(f64::from(x));
            let error = (f64::from(y) - exact).abs();
            assert!(error <= 3e-7 * exact.abs().max(1.0), "f({x}) is {exact}, got {y}");
        }
    }

    /// `1 − erf(x)` for `0 ≤ x` by its continued fraction, or by the series of erf near zero.
    fn erfc(x: f64) -> f64 {
        if x < 2.0 {
            let (mut term, mut sum) = (x, x);
            for n in 1..100_u32 {
                let n = f64::from(n);
                term *= -x * x / n;
                sum += term / (2.0 * n + 1.0);
            }
            return 1.0 - sum * 2.0 / std::f64::consts::PI.sqrt();
        }
        let fraction = (1..60_u32).rev().fold(x, |rest, n| x + f64::from(n) / 2.0 / rest);
        (-x * x).exp() / (fraction * std::f64::consts::PI.sqrt())
    }

    fn exact_gelu(x: f64) -> f64 {
        let tail = 0.5 * erfc(x.abs() / std::f64::consts::SQRT_2);
        if x < 0.0 { x * tail } else { x * (1.0 - tail) }
    }

    #[test]
    fn activations_are_exact_to_single_precision() {
        check(silu, |x| x / (1.0 + (-x).exp()));
        check(quick_gelu, |x| x / (1.0 + (-1.702 * x).exp()));
        check(gelu, exact_gelu);
    }

    #[test]
    fn sums_are_of_like_shapes() {
        let x = from_values(vec![1.0, 2.0], (1, 2)).unwrap();
        let y = from_values(vec![10.0, 20.0], (1, 2)).unwrap();
        assert_eq!(add(&x, &y).unwrap().to_vec2::<f32>().unwrap(), [[11.0, 22.0]]);
        let error = add(&x, &y.t().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "second term of a sum: expected [1, 2], got [2, 1]");
    }

    #[test]
    fn geglu_gates_the_first_half_with_the_second() {
        let x = from_values(vec![2.0, 3.0, 0.0, 1.0, -1.0, 5.0, 100.0, -100.0], (2, 4)).unwrap();
        let y = geglu(&x).unwrap();
        assert_eq!(y.dims(), [2, 2]);
        let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        for (y, exact) in y.into_iter().zip([0.0, 3.0 * exact_gelu(1.0), -100.0, 0.0]) {
            assert!((f64::from(y) - exact).abs() < 1e-6, "expected {exact}, got {y}");
        }
        assert!(geglu(&from_values(vec![0.0; 3], (1, 3)).unwrap()).is_err());
    }
}
