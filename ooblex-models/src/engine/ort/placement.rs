//! Which provider of ONNX Runtime ran a model, read from the profile that it writes of a run.
//!
//! Asking a session for its providers would not do: it lists what was registered, and ONNX Runtime moves every node that
//! a provider does not take, up to all of them, to the CPU without a word.

use std::collections::BTreeMap;

use crate::engine::DeviceKind;

/// How many operators each provider ran.
pub(super) type Placement = BTreeMap<String, usize>;

/// Reads a profile: JSON, an array of events, of which those of an operator's kernel name the provider that ran it.
/// Only that member is looked for, so that no JSON reader has to come along for it.
pub(super) fn read(profile: &str) -> Placement {
    let mut placement = Placement::new();
    for (at, _) in profile.match_indices(MEMBER) {
        let value = profile[at + MEMBER.len()..].trim_start_matches([' ', ':']);
        let Some(name) = value.strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
        *placement.entry(name.to_owned()).or_default() += 1;
    }
    placement
}

const MEMBER: &str = "\"provider\"";

/// The names that ONNX Runtime gives its providers.
const PROVIDERS: [(&str, DeviceKind); 3] = [
    ("TensorrtExecutionProvider", DeviceKind::TensorRt),
    ("CUDAExecutionProvider", DeviceKind::Cuda),
    ("CPUExecutionProvider", DeviceKind::Cpu),
];

/// The device that ran a model, and a sentence about it. TensorRT makes one operator of many, so any of its is enough;
/// CUDA has to have run most of them, since a model whose heavy part runs on the CPU is not accelerated.
pub(super) fn judge(placement: &Placement) -> (DeviceKind, String) {
    let count = |device| {
        let named = PROVIDERS.iter().filter(|(_, kind)| *kind == device);
        named.filter_map(|(name, _)| placement.get(*name)).sum::<usize>()
    };
    let all: usize = placement.values().sum();
    let (tensorrt, cuda) = (count(DeviceKind::TensorRt), count(DeviceKind::Cuda));
    if tensorrt > 0 {
        let reason =
            format!("a probe ran {tensorrt} parts by TensorRT and {} operators by others", all - tensorrt);
        (DeviceKind::TensorRt, reason)
    } else if 2 * cuda > all {
        (DeviceKind::Cuda, format!("a probe ran {cuda} of {all} operators by CUDA"))
    } else {
        (
            DeviceKind::Cpu,
            format!("ONNX Runtime ran {cuda} of {all} operators by CUDA and the rest by the CPU"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(counts: &[(&str, usize)]) -> Placement {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_profile_tells_who_ran_each_operator() {
        let profile = r#"[
            {"cat" : "Session","name" :"model_loading_array","args" : {}},
            {"cat" : "Node","name" :"Conv_0_kernel_time","args" : {"op_name" : "Conv","provider" : "CUDAExecutionProvider"}},
            {"cat" : "Node","name" :"Relu_kernel_time","args" : {"provider":"CPUExecutionProvider","op_name" : "Relu"}},
            {"cat" : "Node","name" :"Conv_1_kernel_time","args" : {"provider" : "CUDAExecutionProvider"}}]"#;
        let expected = placement(&[("CPUExecutionProvider", 1), ("CUDAExecutionProvider", 2)]);
        assert_eq!(read(profile), expected);
        assert_eq!(read("[]"), Placement::new());
        assert_eq!(read("\"provider\" : 7"), Placement::new());
    }

    #[test]
    fn falling_back_to_the_cpu_is_never_taken_for_an_accelerator() {
        let (cuda, cpu, tensorrt) =
            ("CUDAExecutionProvider", "CPUExecutionProvider", "TensorrtExecutionProvider");
        for (counts, device) in [
            (&[(cuda, 90), (cpu, 6)][..], DeviceKind::Cuda),
            (&[(cuda, 10), (cpu, 10)], DeviceKind::Cpu),
            (&[(cpu, 96)], DeviceKind::Cpu),
            (&[(tensorrt, 1), (cpu, 2)], DeviceKind::TensorRt),
            (&[(tensorrt, 3), (cuda, 40)], DeviceKind::TensorRt),
            (&[("SomeExecutionProvider", 9)], DeviceKind::Cpu),
            (&[], DeviceKind::Cpu),
        ] {
            assert_eq!(judge(&placement(counts)).0, device, "{counts:?}");
        }
        let (_, reason) = judge(&placement(&[(cuda, 90), (cpu, 6)]));
        assert_eq!(reason, "a probe ran 90 of 96 operators by CUDA");
    }
}
