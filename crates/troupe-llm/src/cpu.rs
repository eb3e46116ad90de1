//! Says which instructions this program needs and the processor lacks.

/// What the processor lacks of the instructions that llama.cpp is compiled for; `None` if it has them all.
///
/// ggml's build picks its instructions at compile time: AVX2 and what comes with it on x86-64, and only the baseline
/// elsewhere. Without this question first, an older processor would end the child with SIGILL.
#[cfg(target_arch = "x86_64")]
pub fn missing_cpu_features() -> Option<String> {
    // `GGML_SSE42`, `GGML_AVX`, `GGML_AVX2`, `GGML_BMI2`, `GGML_FMA`, `GGML_F16C` in ggml's `CMakeLists.txt`.
    let features = [
        ("SSE4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("AVX", std::arch::is_x86_feature_detected!("avx")),
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("F16C", std::arch::is_x86_feature_detected!("f16c")),
    ];
    list_missing(&features)
}

/// What the processor lacks of the instructions that llama.cpp is compiled for: nothing beyond the baseline.
#[cfg(not(target_arch = "x86_64"))]
pub fn missing_cpu_features() -> Option<String> {
    None
}

#[cfg(any(test, target_arch = "x86_64"))]
fn list_missing(features: &[(&str, bool)]) -> Option<String> {
    let missing: Vec<&str> =
        features.iter().filter(|(_, there)| !there).map(|&(name, _)| name).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_listed() {
        assert_eq!(list_missing(&[("AVX", true), ("AVX2", true)]), None);
        let missing = list_missing(&[("AVX", true), ("AVX2", false), ("FMA", false)]);
        assert_eq!(missing.as_deref(), Some("AVX2, FMA"));
    }
}
