//! What runs models, and which are there.

use ooblex_models::engine::{DeviceKind, EngineKind};
use ooblex_models::manager::{BLAZEFACE, FilePlace, ModelState, ModelStatus, Models};

use super::{Findings, Verdict};
use crate::config::UseGpu;

/// Examines engine, accelerator and files; runs the smallest model once to see what really runs it.
pub(super) fn models(findings: &mut Findings, models: &Models, use_gpu: UseGpu) {
    let report = match models.engine_report() {
        Ok(report) => report,
        Err(error) => {
            let fix = "install ONNX Runtime (pip install onnxruntime), or set engine to auto or rten";
            return findings.add(Verdict::Bad, "engine", &error.to_string(), fix);
        }
    };
    let place = report.place.as_ref().map_or(String::new(), |place| format!(", {place}"));
    let found = format!("{} {}{place}: {}", report.kind, report.version, report.reason);
    // Which engine would be faster, and where its library was looked for.
    let missed = report.passed_over.iter().find(|other| other.kind == EngineKind::Onnx);
    match missed {
        None => findings.add(Verdict::Fine, "engine", &found, ""),
        Some(missed) => {
            let fix =
                format!("pip install onnxruntime makes models about three times as fast ({})", missed.reason);
            findings.add(Verdict::Note, "engine", &found, &fix);
        }
    }
    accelerator(findings, models, use_gpu);
    files(findings, &models.status());
}

fn accelerator(findings: &mut Findings, models: &Models, use_gpu: UseGpu) {
    if let Err(error) = models.load(BLAZEFACE) {
        let fix = if use_gpu == UseGpu::Required { "mend that, or set use_gpu to auto or off" } else { "" };
        return findings.add(Verdict::Bad, "accelerator", &error.to_string(), fix);
    }
    let report = models.accelerator();
    let name = report.gpu_name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    let found = format!("{}{name} ran a model: {}", report.ran, report.reason);
    let card = ["/dev/nvidia0", "/dev/kfd"].into_iter().find(|path| std::path::Path::new(path).exists());
    match card {
        Some(device) if report.ran == DeviceKind::Cpu && use_gpu != UseGpu::Off => {
            let fix = format!(
                "{device} is there: install onnxruntime-gpu for its CUDA version, in a build with `onnx-cuda`"
            );
            findings.add(Verdict::Note, "accelerator", &found, &fix);
        }
        _ => findings.add(Verdict::Fine, "accelerator", &found, ""),
    }
}

fn files(findings: &mut Findings, models: &[ModelStatus]) {
    let embedded = models.iter().filter(|m| m.files.iter().any(|f| f.place == FilePlace::Embedded)).count();
    let missing: Vec<&str> =
        models.iter().filter(|m| m.state == ModelState::Missing).map(|m| m.name.as_str()).collect();
    let found = format!("{} of {}, {embedded} compiled in", models.len() - missing.len(), models.len());
    if missing.is_empty() {
        return findings.add(Verdict::Fine, "models", &found, "");
    }
    let fix = format!(
        "effects that need {} cannot run; put the files into a folder of `ooblex-colab models path`, or name one by \
         --model-dir",
        missing.join(", ")
    );
    findings.add(Verdict::Note, "models", &found, &fix);
}
