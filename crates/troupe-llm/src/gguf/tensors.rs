//! Checks the tensors of a file without reading them.

use std::{collections::BTreeSet, io::BufRead};

use super::{GgufError, invalid, source::Source};

/// `GGML_MAX_NAME` less the closing zero.
const LONGEST_TENSOR_NAME: u64 = 63;

/// Checks that each tensor lies in the file, directly behind the one before it; how many numbers they hold.
pub(super) fn read_tensors<R: BufRead>(
    source: &mut Source<R>,
    length: u64,
    tensors: u64,
    alignment: u64,
) -> Result<u64, GgufError> {
    let (mut names, mut parameters) = (BTreeSet::new(), 0_u64);
    let (mut end, mut last) = (0_u64, String::new()); // Of the data, from where the first tensor begins.
    for index in 0..tensors {
        let what = format!("tensor {index}");
        let name = source.string(LONGEST_TENSOR_NAME, &what)?;
        let what = format!("tensor `{name}`");
        let dimensions = source.u32(&what)?;
        if !(1..=4).contains(&dimensions) {
            return Err(invalid(&what, &format!("has {dimensions} dimensions, wanted 1 to 4")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(source.u64(&what)?);
        }
        let kind = source.u32(&what)?;
        let offset = source.u64(&what)?;

        let (block, bytes) = block_of_type(kind)
            .ok_or_else(|| invalid(&what, &format!("has the unknown type {kind}")))?;
        let elements = shape.iter().try_fold(1_u64, |product, &side| product.checked_mul(side));
        let size = elements.and_then(|elements| elements.checked_div(block)?.checked_mul(bytes));
        let (Some(elements), Some(size)) = (elements, size) else {
            return Err(invalid(&what, &format!("has the shape {shape:?}, which overflows")));
        };
        if elements == 0 || shape.first().is_none_or(|row| row % block != 0) {
            return Err(invalid(
                &what,
                &format!("has the shape {shape:?}, whose rows are no whole blocks of {block}"),
            ));
        }
        let expected = end.checked_next_multiple_of(alignment);
        if expected != Some(offset) {
            return Err(invalid(
                &what,
                &format!("lies at offset {offset}, and the tensor before it ends at {end}"),
            ));
        }
        let sum = offset.checked_add(size).zip(parameters.checked_add(elements));
        let Some((new_end, sum)) = sum.filter(|_| names.insert(name.clone())) else {
            return Err(invalid(&what, "is there twice, or larger than any file"));
        };
        (end, parameters, last) = (new_end, sum, what);
    }
    if !names.contains("token_embd.weight") {
        return Err(GgufError::Missing {
            key: "token_embd.weight".to_owned(),
            why: "the file holds no language model's weights",
        });
    }
    // The data begins at the next multiple of the alignment after the header.
    let begin = (length - source.left).next_multiple_of(alignment);
    let left = length.saturating_sub(begin);
    if left < end {
        return Err(GgufError::Truncated {
            what: format!("the tensor data up to {last}"),
            wanted: end,
            left,
        });
    }
    Ok(parameters)
}

/// How many numbers a block of this type holds, and its size in bytes: `enum ggml_type` in `ggml.h`, the structures in
/// `ggml-common.h`.
fn block_of_type(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),      // F32, I32
        1 | 25 | 30 => (1, 2), // F16, I16, BF16
        2 | 20 => (32, 18),    // Q4_0, IQ4_NL
        3 => (32, 20),         // Q4_1
        6 => (32, 22),         // Q5_0
        7 => (32, 24),         // Q5_1
        8 => (32, 34),         // Q8_0
        9 => (32, 36),         // Q8_1
        10 => (256, 84),       // Q2_K
        11 | 21 => (256, 110), // Q3_K, IQ3_S
        12 => (256, 144),      // Q4_K
        13 => (256, 176),      // Q5_K
        14 => (256, 210),      // Q6_K
        15 => (256, 292),      // Q8_K
        16 | 35 => (256, 66),  // IQ2_XXS, TQ2_0
        17 => (256, 74),       // IQ2_XS
        18 => (256, 98),       // IQ3_XXS
        19 => (256, 50),       // IQ1_S
        22 => (256, 82),       // IQ2_S
        23 => (256, 136),      // IQ4_XS
        24 => (1, 1),          // I8
        27 | 28 => (1, 8),     // I64, F64
        29 => (256, 56),       // IQ1_M
        34 => (256, 54),       // TQ1_0
        39 => (32, 17),        // MXFP4
        40 => (64, 36),        // NVFP4
        41 => (128, 18),       // Q1_0
        42 => (64, 18),        // Q2_0
        _ => return None,
    })
}
