//! Reading, and files that lie.

use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use half::{bf16, f16};

use super::file::{CHUNK, HELD};
use super::*;

mod stored;

/// A file of a header, written as it is, and data.
fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u64::try_from(header.len()).unwrap().to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn open(bytes: Vec<u8>) -> Result<Weights, WeightsError> {
    Weights::new("x.safetensors", Arc::new(bytes))
}

/// Three small tensors, one of each type that we read.
fn small() -> Vec<u8> {
    let f32s: Vec<u8> = [1.0_f32, -2.5, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let f16s: Vec<u8> =
        [0.5_f32, -8.0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let bf16s: Vec<u8> =
        [1.5_f32, 256.0].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    let tensors = [
        ("block.0.weight", TensorView::new(Dtype::F32, vec![3, 1], &f32s).unwrap()),
        ("block.0.bias", TensorView::new(Dtype::F16, vec![2], &f16s).unwrap()),
        ("block.1.weight", TensorView::new(Dtype::BF16, vec![1, 2], &bf16s).unwrap()),
        ("ids", TensorView::new(Dtype::I64, vec![1], &[0; 8]).unwrap()),
    ];
    safetensors::serialize(tensors, None).unwrap()
}

fn values(weights: &Weights, name: &str, shape: &[usize]) -> Vec<f32> {
    weights.get(name, shape).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn three_types_are_read_as_f32() {
    let weights = open(small()).unwrap();
    assert_eq!(values(&weights, "block.0.weight", &[3, 1]), [1.0, -2.5, 3.0]);
    assert_eq!(values(&weights.at("block").at(0), "bias", &[2]), [0.5, -8.0]);
    assert_eq!(values(&weights.at("block.1"), "weight", &[1, 2]), [1.5, 256.0]);
    assert!(weights.at("block").contains("0.bias"));
    assert!(!weights.at("block").contains("bias"));
}

#[test]
fn modules_are_listed_from_the_header() {
    let module = |name: &str, shape: &[usize], bias: Option<Vec<usize>>| Module {
        name: name.to_owned(),
        shape: shape.to_vec(),
        bias,
    };
    let expected = [module("block.0", &[3, 1], Some(vec![2])), module("block.1", &[1, 2], None)];
    assert_eq!(open(small()).unwrap().modules(), expected);
}

#[test]
fn every_half_is_widened_whatever_its_place() {
    // More than two chunks and no whole number of them, and a header that leaves the data unaligned.
    let count = 2 * CHUNK + 7;
    let number = |i: usize| f32::from(u16::try_from(i).unwrap());
    let header = |dtype: &str| {
        let end = 2 * count;
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[0,{end}]}}}} "#)
    };
    let pad = |text: String| if text.len().is_multiple_of(2) { text + " " } else { text };
    let f16s: Vec<u8> = (0..count).flat_map(|i| f16::from_f32(number(i)).to_le_bytes()).collect();
    let bf16s: Vec<u8> = (0..count).flat_map(|i| bf16::from_f32(number(i)).to_le_bytes()).collect();
    let read = |dtype: &str, data: &[u8]| {
        values(&open(raw(&pad(header(dtype)), data)).unwrap(), "x", &[count])
    };
    let exact: Vec<f32> = (0..count).map(|i| f16::from_f32(number(i)).to_f32()).collect();
    assert_eq!(read("F16", &f16s), exact);
    let exact: Vec<f32> = (0..count).map(|i| bf16::from_f32(number(i)).to_f32()).collect();
    assert_eq!(read("BF16", &bf16s), exact);
}

#[test]
fn what_a_network_misses_is_named() {
    let weights = open(small()).unwrap().at("block");
    for (name, shape, says) in [
        ("2.weight", &[3][..], "`x.safetensors` has no tensor `block.2.weight`; one of shape [3]"),
        ("0.weight", &[1, 3], "`block.0.weight` of shape [3, 1], and [1, 3] was wanted"),
        ("0.weight", &[3], "`block.0.weight` of shape [3, 1], and [3] was wanted"),
    ] {
        let error = weights.get(name, shape).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.blame(), Blame::Asset);
    }
    assert!(weights.get_optional("2.weight", &[3]).unwrap().is_none());
    assert!(weights.get_optional("0.weight", &[3]).is_err());
    let error = open(small()).unwrap().get("ids", &[1]).unwrap_err();
    assert!(error.to_string().contains("`ids` of type I64"), "{error}");
}

#[test]
fn numbers_that_are_none_are_found_wherever_they_are() {
    let count = CHUNK + 3;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 1, CHUNK - 1, CHUNK, count - 1] {
            let mut numbers = vec![0.0_f32; count];
            numbers[at] = bad;
            let f32s: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
            let f16s: Vec<u8> =
                numbers.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
            let bf16s: Vec<u8> =
                numbers.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
            for (dtype, data) in [(Dtype::F32, f32s), (Dtype::F16, f16s), (Dtype::BF16, bf16s)] {
                let view = TensorView::new(dtype, vec![count], &data).unwrap();
                let weights = open(safetensors::serialize([("w", view)], None).unwrap()).unwrap();
                for error in [weights.get("w", &[count]), weights.stored("w", &[count])] {
                    let error = error.unwrap_err().to_string();
                    let says = "`w` with NaN or infinity";
                    assert!(error.contains(says), "{dtype} {bad} at {at}: {error}");
                }
            }
        }
    }
}

#[test]
fn numbers_of_which_none_are_kept_are_checked_to_the_last() {
    let count = 2 * HELD + 3;
    let check = |numbers: &[f32]| {
        let data: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![numbers.len()], &data).unwrap();
        let bytes = safetensors::serialize([("w", view)], None).unwrap();
        TensorFile::new("f", Arc::new(bytes)).unwrap().check_values("w")
    };
    check(&vec![1.0; count]).unwrap();
    check(&[]).unwrap();
    for at in [0, HELD - 1, HELD, count - 1] {
        let mut numbers = vec![1.0; count];
        numbers[at] = f32::NAN;
        let error = check(&numbers).unwrap_err().to_string();
        assert!(error.contains("`w` with NaN or infinity"), "at {at}: {error}");
    }
}

/// A header of one tensor.
fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

#[test]
fn lying_headers_are_corrupt_and_say_why() {
    let two = |a: &str, b: &str| {
        let tensor = |offsets| format!(r#"{{"dtype":"U8","shape":[4],"data_offsets":{offsets}}}"#);
        format!(r#"{{"a":{},"b":{}}}"#, tensor(a), tensor(b))
    };
    let many = |tensor: fn(usize) -> String, count| {
        let tensors: Vec<String> = (0..count).map(tensor).collect();
        format!("{{{}}}", tensors.join(","))
    };
    let empty = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let deep = "[".repeat(100_000);
    let max = u64::MAX;
    let cases: Vec<(String, usize, &str)> = vec![
        (one("F32", "[2]", "[0,7]"), 7, "of type F32 and shape [2] with 7 bytes"),
        (one("F32", "[2]", "[0,8]"), 7, "and the file has 7 bytes of data"),
        (one("F32", "[2]", "[0,8]"), 9, "has 9 bytes of data, and its tensors cover 8"),
        (one("F32", "[2]", "[1,9]"), 9, "leaves a hole after"),
        (one("F32", "[2]", "[8,0]"), 8, "ends before it begins"),
        (one("F32", "[2]", &format!("[{max},8]")), 8, "the file has 8 bytes of data"),
        (one("F32", &format!("[{max},2]"), "[0,8]"), 8, "larger than any file"),
        (one("F32", "[4294967296,4294967296,4]", "[0,0]"), 0, "larger than any file"),
        (one("F32", "[2305843009213693952]", "[0,0]"), 0, "larger than any file"),
        (one("F33", "[2]", "[0,8]"), 8, "unknown type `F33`"),
        (one("F4", "[1]", "[0,1]"), 1, "of type F4 and shape [1]"),
        (one("F32", "[-2]", "[0,8]"), 8, "is not valid"),
        (one("F32", "[2.0]", "[0,8]"), 8, "is not valid"),
        (one("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, "at most 8 dimensions"),
        (one("F32", "[2]", "[0,8,9]"), 8, "is not valid"),
        (one("F32", "[2]", "[0]"), 8, "is not valid"),
        (one("F32", "2", "[0,8]"), 8, "is not valid"),
        (two("[0,4]", "[2,6]"), 6, "overlaps"),
        (two("[0,4]", "[0,4]"), 4, "overlaps"),
        (two("[0,4]", "[5,9]"), 9, "leaves a hole after"),
        (two("[0,4]", "[4,8]").replace("\"b\"", "\"a\""), 8, "`a` is there twice"),
        (
            format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},"w":{empty}}}"#),
            0,
            "is there twice",
        ),
        (r#"{"__metadata__":{"a":1}}"#.to_owned(), 0, "is not valid"),
        (r#"{"w":{"dtype":"U8","shape":[0]}}"#.to_owned(), 0, "data_offsets"),
        (r#"{"w":null}"#.to_owned(), 0, "is not valid"),
        (format!(r#"{{"w":{empty}}} {{}}"#), 0, "is not valid"),
        (format!(r#" {{"w":{empty}}}"#), 0, "does not begin with `{`"),
        ("{".to_owned(), 0, "is not valid"),
        (String::new(), 0, "does not begin with `{`"),
        (format!(r#"{{"w":{deep}"#), 0, "is not valid"),
        (format!(r#"{{"w":{{"dtype":"U8","x":{deep}"#), 0, "is not valid"),
        (
            many(
                |i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#),
                MAX + 1,
            ),
            0,
            "at most 100000 tensors",
        ),
        (
            format!(r#"{{"__metadata__":{}}}"#, many(|i| format!(r#""{i}":"""#), 10_001)),
            0,
            "at most 10000 entries of metadata",
        ),
    ];
    for (header, data, says) in cases {
        let error = open(raw(&header, &vec![0; data])).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(says) && shown.starts_with("`x.safetensors` "), "{says}: {shown}");
        assert!(shown.len() < 1000, "{shown}");
        assert_eq!(error.blame(), Blame::Asset);
    }
}

/// The most tensors that a header may have.
const MAX: usize = 100_000;

#[test]
fn lengths_that_lie_are_corrupt() {
    for (bytes, says) in [
        (vec![], "has 0 bytes"),
        (vec![1; 7], "has 7 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), "announces a header of 18446744073709551615 bytes"),
        (100_000_001_u64.to_le_bytes().to_vec(), "at most 100000000"),
        (
            [&3_u64.to_le_bytes()[..], b"{}"].concat(),
            "announces a header of 3 bytes; 2 bytes follow",
        ),
        ([&4_u64.to_le_bytes()[..], b"{\xff\xfe}"].concat(), "not UTF-8"),
        (b"GGUF\x03\0\0\0\0\0\0\0".to_vec(), "is a GGUF file"),
    ] {
        let error = open(bytes).unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert_eq!(error.blame(), Blame::Asset);
    }
    // The limit holds where the file is long enough, too.
    let mut long = vec![b' '; 100_000_020];
    long[..8].copy_from_slice(&100_000_001_u64.to_le_bytes());
    assert!(open(long).unwrap_err().to_string().contains("at most 100000000"));
}

#[test]
fn a_header_that_fills_the_file_is_accepted() {
    assert!(open(raw("{}", &[])).unwrap().modules().is_empty());
    assert!(open(raw(&one("F32", "[0,3]", "[0,0]"), &[])).unwrap().get("w", &[0, 3]).is_ok());
}

#[test]
fn pickles_are_refused_under_any_name() {
    for (name, bytes) in [
        ("x.safetensors", &b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl"[..]),
        ("x.safetensors", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("x.safetensors", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."),
        ("x.safetensors", b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x02os"),
        ("x.safetensors", b"\x80\x05."),
        ("x.safetensors", b"cposix\nsystem\n(S'id'\ntR."),
        ("x.safetensors", b"c__builtin__\neval\n."),
        ("x.safetensors", b"(dp0\n."),
        ("x.safetensors", b"(lp0\n."),
        ("x.ckpt", b"anything that is no safetensors file"),
        ("X.PT", b"anything that is no safetensors file"),
        ("x.bin", b""),
    ] {
        let error = Weights::new(name, Arc::new(bytes.to_vec())).unwrap_err();
        assert_eq!(error.blame(), Blame::Policy, "{error}");
        let shown = error.to_string();
        assert!(shown.contains(&format!("`{name}`")) && shown.contains("python3 -c"), "{shown}");
    }
}

#[test]
fn what_only_looks_like_a_pickle_is_read() {
    // The length of the header is 0x0280, so that the file begins as a pickle does.
    let mut header = "{}".to_owned();
    header.push_str(&" ".repeat(0x280 - header.len()));
    assert!(raw(&header, &[]).starts_with(b"\x80\x02"));
    assert!(open(raw(&header, &[])).is_ok());
    // A good file is good under any name.
    assert!(Weights::new("x.bin", Arc::new(small())).is_ok());
}

#[test]
fn messages_carry_no_control_characters() {
    let name = "evil\u{1b}]0;title\u{7}\u{202e}.safetensors";
    let header = one("\\u001b[31m", "[1]", "[0,1]").replace("\"w\"", "\"\\u001b[2Jw\"");
    let shown = Weights::new(name, Arc::new(raw(&header, &[0]))).unwrap_err().to_string();
    assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
}

#[test]
fn every_truncation_is_refused() {
    let whole = small();
    assert!(open(whole.clone()).is_ok());
    for length in 0..whole.len() {
        let error = open(whole[..length].to_vec()).unwrap_err();
        assert_eq!(error.blame(), Blame::Asset, "{length}: {error}");
    }
    assert!(open([&whole[..], &[0]].concat()).is_err(), "one byte too many");
}

/// Reads all that a file has; what is accepted must be readable, and the format's own reader must
/// accept it too.
fn exhaust(bytes: &[u8]) {
    let Ok(weights) = open(bytes.to_vec()) else { return };
    let reference =
        SafeTensors::deserialize(bytes).expect("accepted by us, refused by safetensors");
    assert_eq!(weights.set.tensors.len(), reference.len());
    for (name, found) in &weights.set.tensors {
        let entry = found.file.entry(name).unwrap();
        assert_eq!((&found.key, &found.shape, found.part), (name, &entry.shape, Part::Whole));
        let view = reference.tensor(name).unwrap();
        assert_eq!((view.dtype(), view.shape()), (entry.dtype, entry.shape.as_slice()));
        assert_eq!(view.data(), &bytes[entry.range.clone()]);
        drop(weights.get(name, &entry.shape));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = small();
        for (at, to) in flips {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        exhaust(&bytes);
    }

    #[test]
    fn swapped_digits_never_panic(swaps in prop::collection::vec((any::<prop::sample::Index>(), 0..10_u8), 1..4)) {
        let mut bytes = small();
        let digits: Vec<usize> = (8..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
        for (at, to) in swaps {
            bytes[*at.get(&digits)] = b'0' + to;
        }
        exhaust(&bytes);
    }

    #[test]
    fn any_header_never_panics(header in "\\{[\"a-c:,\\[\\]{}0-9 ]{0,60}\\}", data in prop::collection::vec(any::<u8>(), 0..20)) {
        exhaust(&raw(&header, &data));
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        exhaust(&bytes);
    }
}
