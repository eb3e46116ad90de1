//! Sixteen-bit numbers as f32, exactly; none of them may be infinite or NaN.

use half::{bf16, f16};

use super::vectorised::vectorised;

/// `out[i] = x[i]`, for numbers of five bits of exponent and ten of mantissa.
pub(crate) fn widen_f16(x: &[f16], out: &mut [f32]) {
    // Moves an exponent from a bias of 15 to one of 127.
    const MORE: u32 = (127 - 15) << 23;
    // The smallest number with a leading one, 2⁻¹⁴, and its bits.
    const SMALLEST: f32 = 1.0 / 16_384.0;
    vectorised(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                let bits = u32::from(x.to_bits());
                let sign = (bits & 0x8000) << 16;
                let magnitude = (bits & 0x7fff) << 13;
                // Without a leading one: as if it had one, which is then taken away.
                let small = f32::from_bits(magnitude + SMALLEST.to_bits()) - SMALLEST;
                let magnitude = if bits & 0x7c00 == 0 { small.to_bits() } else { magnitude + MORE };
                *out = f32::from_bits(magnitude | sign);
            }
        },
    );
}

/// `out[i] = x[i]`, for the upper halves of f32.
pub(crate) fn widen_bf16(x: &[bf16], out: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                *out = f32::from_bits(u32::from(x.to_bits()) << 16);
            }
        },
    );
}
