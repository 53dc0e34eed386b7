//! Why an accelerator did not run, out of what ONNX Runtime says about it.

/// The reason in a few words: the library that is missing, by name, if that is it.
///
/// ONNX Runtime returns something general ("CUDA execution provider is either not enabled or not available") and logs
/// what the dynamic linker said; `logged` are those lines.
pub(super) fn explain(device: &str, error: &str, logged: &[String]) -> String {
    let all = || logged.iter().map(String::as_str).chain([error]);
    if let Some(library) = all().find_map(missing_library) {
        return format!("{library}, which {device} needs, was not found");
    }
    if let Some(reason) = all().find_map(|text| after(text, "with error: ").or_else(|| failure(text))) {
        return format!("{device} failed: {reason}");
    }
    format!("{device} failed: {}", first_line(error))
}

/// `libcublasLt.so.12` out of `... with error: libcublasLt.so.12: cannot open shared object file: No such file ...`.
fn missing_library(text: &str) -> Option<&str> {
    let before =
        text.split(": cannot open shared object file").next().filter(|before| before.len() < text.len())?;
    let name = before.rsplit([' ', '/']).next()?;
    name.contains(".so").then_some(name)
}

/// `CUDA failure 100: no CUDA-capable device is detected` out of a line that goes on with the place in the code.
fn failure(text: &str) -> Option<&str> {
    let at =
        ["CUDA failure ", "CUDNN failure ", "CUBLAS failure "].iter().find_map(|start| text.find(start))?;
    first_line(&text[at..]).split(" ; ").next()
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| first_line(rest))
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logged by onnxruntime-gpu 1.26.0 and 1.31.1 on a machine without CUDA.
    #[test]
    fn a_missing_library_is_named() {
        let logged = |provider: &str, library: &str| {
            vec![format!(
                "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1962 onnxruntime::Provider& \
                 onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library \
                 /x/onnxruntime/capi/{provider} with error: {library}: cannot open shared object file: No such file \
                 or directory\n"
            )]
        };
        let error = "CUDA execution provider is either not enabled or not available.";
        for library in ["libcublasLt.so.12", "libcublasLt.so.13", "libcudnn.so.9"] {
            let reason = explain("CUDA", error, &logged("libonnxruntime_providers_cuda.so", library));
            assert_eq!(reason, format!("{library}, which CUDA needs, was not found"));
        }
        let reason =
            explain("TensorRT", "", &logged("libonnxruntime_providers_tensorrt.so", "libnvinfer.so.10"));
        assert_eq!(reason, "libnvinfer.so.10, which TensorRT needs, was not found");
        // A library given by its path.
        let reason = explain("CUDA", "/opt/x/libfoo.so: cannot open shared object file: No such file", &[]);
        assert_eq!(reason, "libfoo.so, which CUDA needs, was not found");
    }

    #[test]
    fn other_reasons_are_kept_short() {
        let linker =
            vec!["Failed to load library x with error: /lib/y.so: undefined symbol: z\nmore".to_owned()];
        assert_eq!(explain("CUDA", "", &linker), "CUDA failed: /lib/y.so: undefined symbol: z");
        let device =
            "CUDA failure 100: no CUDA-capable device is detected ; GPU=0 ; hostname=h ; file=f ; line=1";
        assert_eq!(
            explain("CUDA", device, &[]),
            "CUDA failed: CUDA failure 100: no CUDA-capable device is detected"
        );
        assert_eq!(
            explain("CUDA", "CUDA execution provider is not enabled in this build. \nmore", &[]),
            "CUDA failed: CUDA execution provider is not enabled in this build."
        );
    }
}
