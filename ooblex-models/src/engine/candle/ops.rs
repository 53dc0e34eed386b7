//! The operators of ONNX that the models need, checked when they are parsed, and computed by candle.
//!
//! Formulas are those of the ONNX operator specification, opset 13 to 17. Sizes are in the order of ONNX: pads are all
//! beginnings, then all ends.

use candle_core::{Result, Shape, Tensor};
use serde_json::Value;

use super::check_elements;
use super::depthwise::Depthwise;
use super::graph::Constants;
use crate::engine::graph_file::Node;

/// An operator with everything but its tensors.
pub(super) enum Op {
    Relu,
    Sigmoid,
    Sqrt,
    HardSigmoid {
        alpha: f64,
        beta: f64,
    },
    Add,
    Sub,
    Mul,
    Div,
    Pow {
        exponent: f64,
    },
    Conv {
        stride: usize,
        groups: usize,
        pads: Vec<(usize, usize)>,
        bias: Option<Tensor>,
    },
    ConvTranspose {
        stride: usize,
        bias: Option<Tensor>,
    },
    MaxPool {
        kernel: (usize, usize),
        stride: (usize, usize),
    },
    /// Mean over all but the first two dimensions.
    GlobalAveragePool,
    Pad {
        pads: Vec<(usize, usize)>,
        reflect: bool,
    },
    Transpose {
        order: Vec<usize>,
    },
    /// 0 keeps a size, -1 takes what is left.
    Reshape {
        shape: Vec<i64>,
    },
    Unsqueeze {
        axes: Vec<usize>,
    },
    Concat {
        axis: usize,
    },
    Reduce {
        axes: Vec<usize>,
        keep: bool,
        mean: bool,
    },
    /// Height and width times these.
    Resize {
        scale: (f64, f64),
        linear: bool,
    },
}

impl Op {
    /// Reads a node. Gives with it the names of the inputs that are tensors at run time: weights that are lists, and
    /// biases, are taken in here.
    ///
    /// # Errors
    /// An operator, attribute or number of inputs that is not supported, or a missing weight.
    pub(super) fn parse<'a>(
        node: &Node,
        names: &'a [String],
        constants: &Constants,
    ) -> std::result::Result<(Self, &'a [String]), String> {
        let attributes = Attributes(node);
        let count = |most: usize| {
            let there = names.iter().take(most).filter(|name| !name.is_empty()).count();
            if there == most && names.len() <= most {
                Ok(())
            } else {
                Err(format!("it has not {most} inputs"))
            }
        };
        let named = |index: usize| names.get(index).ok_or_else(|| format!("it has not {} inputs", index + 1));
        // Per channel of a picture.
        let bias = || match names.get(2) {
            None => Ok(None),
            Some(name) => {
                let bias = constants.tensor(name)?;
                bias.reshape((1, (), 1, 1)).map(Some).map_err(|e| e.to_string())
            }
        };
        let unary = |op: Self| count(1).map(|()| (op, names));
        let binary = |op: Self| count(2).map(|()| (op, names));
        match node.op.as_str() {
            "Relu" => unary(Self::Relu),
            "Sigmoid" => unary(Self::Sigmoid),
            "Sqrt" => unary(Self::Sqrt),
            "GlobalAveragePool" => unary(Self::GlobalAveragePool),
            "HardSigmoid" => unary(Self::HardSigmoid {
                alpha: attributes.float("alpha", 0.2)?,
                beta: attributes.float("beta", 0.5)?,
            }),
            "Add" => binary(Self::Add),
            "Sub" => binary(Self::Sub),
            "Mul" => binary(Self::Mul),
            "Div" => binary(Self::Div),
            "Pow" => {
                count(2)?;
                let exponent = constants.tensor(named(1)?)?.flatten_all().and_then(|t| t.to_vec1::<f32>());
                let exponent = exponent.map_err(|e| e.to_string())?;
                let [exponent] = exponent.as_slice() else {
                    return Err("its exponent is not one number".into());
                };
                Ok((Self::Pow { exponent: f64::from(*exponent) }, &names[..1]))
            }
            "Conv" => {
                constants.tensor(named(1)?)?;
                attributes.is("dilations", &[1, 1])?;
                let pads = in_pairs(&attributes.sizes("pads", &[0, 0, 0, 0])?)?;
                let (stride, groups) = (attributes.stride()?, attributes.size("group", 1)?);
                let [_, _] = pads.as_slice() else { return Err("its pads are not of two dimensions".into()) };
                Ok((Self::Conv { stride, groups, pads, bias: bias()? }, &names[..2]))
            }
            "ConvTranspose" => {
                constants.tensor(named(1)?)?;
                attributes.is("pads", &[0, 0, 0, 0])?;
                attributes.is("dilations", &[1, 1])?;
                attributes.is("output_padding", &[0, 0])?;
                attributes.is("group", &[1])?;
                Ok((Self::ConvTranspose { stride: attributes.stride()?, bias: bias()? }, &names[..2]))
            }
            "MaxPool" => {
                attributes.is("pads", &[0, 0, 0, 0])?;
                attributes.is("ceil_mode", &[0])?;
                let pair = |name: &str| match attributes.sizes(name, &[])?.as_slice() {
                    &[height, width] if height > 0 && width > 0 => Ok((height, width)),
                    _ => Err(format!("its {name} is not two sizes")),
                };
                unary(Self::MaxPool { kernel: pair("kernel_shape")?, stride: pair("strides")? })
            }
            "Pad" => {
                count(2)?;
                let pads = in_pairs(&as_sizes(constants.list(named(1)?)?)?)?;
                let reflect = match attributes.text("mode", "constant")? {
                    "constant" => false,
                    "reflect" => true,
                    other => return Err(format!("its mode {other:?} is not supported")),
                };
                Ok((Self::Pad { pads, reflect }, &names[..1]))
            }
            "Transpose" => unary(Self::Transpose { order: attributes.sizes("perm", &[])? }),
            "Reshape" => {
                count(2)?;
                attributes.is("allowzero", &[0])?;
                Ok((Self::Reshape { shape: constants.list(named(1)?)?.to_vec() }, &names[..1]))
            }
            "Unsqueeze" => {
                count(2)?;
                let mut axes = as_sizes(constants.list(named(1)?)?)?;
                axes.sort_unstable();
                Ok((Self::Unsqueeze { axes }, &names[..1]))
            }
            "Concat" if names.is_empty() => Err("it has no inputs".into()),
            "Concat" => Ok((Self::Concat { axis: attributes.required("axis")? }, names)),
            "ReduceSum" => {
                count(2)?;
                let axes = as_sizes(constants.list(named(1)?)?)?;
                Ok((
                    Self::Reduce { axes, keep: attributes.size("keepdims", 1)? != 0, mean: false },
                    &names[..1],
                ))
            }
            "ReduceMean" => {
                let axes = attributes.sizes("axes", &[])?;
                unary(Self::Reduce { axes, keep: attributes.size("keepdims", 1)? != 0, mean: true })
            }
            "Resize" => resize(&attributes, names, constants),
            other => Err(format!("unknown operator {other:?}")),
        }
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::Sigmoid => "Sigmoid",
            Self::Sqrt => "Sqrt",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::Pow { .. } => "Pow",
            Self::Conv { .. } => "Conv",
            Self::ConvTranspose { .. } => "ConvTranspose",
            Self::MaxPool { .. } => "MaxPool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::Pad { .. } => "Pad",
            Self::Transpose { .. } => "Transpose",
            Self::Reshape { .. } => "Reshape",
            Self::Unsqueeze { .. } => "Unsqueeze",
            Self::Concat { .. } => "Concat",
            Self::Reduce { .. } => "Reduce",
            Self::Resize { .. } => "Resize",
        }
    }

    /// Computes it.
    ///
    /// # Errors
    /// Sizes that do not fit, and whatever candle says.
    pub(super) fn apply(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = *inputs.first().ok_or_else(|| candle_core::Error::Msg("no inputs".into()))?;
        // Invariant: `parse` counted the inputs.
        let second = || *inputs.last().unwrap_or(&x);
        match self {
            Self::Relu => x.relu(),
            Self::Sigmoid => (x.neg()?.exp()? + 1.0)?.recip(),
            Self::Sqrt => x.sqrt(),
            Self::HardSigmoid { alpha, beta } => x.affine(*alpha, *beta)?.clamp(0f32, 1f32),
            Self::Add => fits(x, second()).and_then(|()| x.broadcast_add(second())),
            Self::Sub => fits(x, second()).and_then(|()| x.broadcast_sub(second())),
            Self::Mul => fits(x, second()).and_then(|()| x.broadcast_mul(second())),
            Self::Div => fits(x, second()).and_then(|()| x.broadcast_div(second())),
            Self::Pow { exponent: 2.0 } => x.sqr(),
            Self::Pow { exponent } => x.powf(*exponent),
            Self::Conv { stride, groups, pads, bias } => {
                conv(x, second(), *stride, *groups, pads, bias.as_ref())
            }
            Self::ConvTranspose { stride, bias } => {
                let (n, _, height, width) = x.dims4()?;
                let (_, out, h, w) = second().dims4()?;
                check_elements(&[n, out, height, width, *stride, *stride, h, w])?;
                add_bias(x.contiguous()?.conv_transpose2d(second(), 0, 0, *stride, 1)?, bias.as_ref())
            }
            Self::MaxPool { kernel, stride } => x.max_pool2d_with_stride(*kernel, *stride),
            Self::GlobalAveragePool => x.mean_keepdim((2, 3)),
            Self::Pad { pads, reflect } => pad(x, pads, *reflect),
            Self::Transpose { order } => x.permute(order.as_slice())?.contiguous(),
            Self::Reshape { shape } => x.reshape(reshaped(x.dims(), shape)?),
            Self::Unsqueeze { axes } => axes.iter().try_fold(x.clone(), |x, axis| x.unsqueeze(*axis)),
            Self::Concat { axis } => Tensor::cat(inputs, *axis),
            Self::Reduce { axes, keep: true, mean: true } => x.mean_keepdim(axes.as_slice()),
            Self::Reduce { axes, keep: false, mean: true } => x.mean(axes.as_slice()),
            Self::Reduce { axes, keep: true, mean: false } => x.sum_keepdim(axes.as_slice()),
            Self::Reduce { axes, keep: false, mean: false } => x.sum(axes.as_slice()),
            Self::Resize { scale, linear } => {
                let (n, channels, height, width) = x.dims4()?;
                let scaled = |side: usize, scale: f64| (side as f64 * scale) as usize;
                let (height, width) = (scaled(height, scale.0), scaled(width, scale.1));
                check_elements(&[n, channels, height, width])?;
                if *linear {
                    x.upsample_bilinear2d(height, width, false)
                } else {
                    x.upsample_nearest2d(height, width)
                }
            }
        }
    }
}

/// Bilinear with centres of pixels aligned, or nearest by rounding down: what candle computes.
fn resize<'a>(
    attributes: &Attributes<'_>,
    names: &'a [String],
    constants: &Constants,
) -> std::result::Result<(Op, &'a [String]), String> {
    let [_, region, scales] = names else { return Err("it has not three inputs".into()) };
    if !region.is_empty() {
        return Err("a region is not supported".into());
    }
    let scales = constants.tensor(scales)?.flatten_all().and_then(|t| t.to_vec1::<f32>());
    let &[1.0, 1.0, height, width] = scales.map_err(|e| e.to_string())?.as_slice() else {
        return Err("its scales are not of height and width".into());
    };
    if !(height >= 1.0 && width >= 1.0) {
        return Err("making smaller is not supported".into());
    }
    let centres = attributes.text("coordinate_transformation_mode", "half_pixel")?;
    let linear = match (attributes.text("mode", "nearest")?, centres) {
        ("linear", "half_pixel") => true,
        ("nearest", "asymmetric") if attributes.text("nearest_mode", "")? == "floor" => false,
        (mode, _) => return Err(format!("mode {mode:?} with {centres:?} is not supported")),
    };
    Ok((Op::Resize { scale: (f64::from(height), f64::from(width)), linear }, &names[..1]))
}

fn fits(a: &Tensor, b: &Tensor) -> Result<()> {
    let shape: Shape = a.shape().broadcast_shape_binary_op(b.shape(), "broadcast")?;
    check_elements(shape.dims())
}

fn conv(
    x: &Tensor,
    kernel: &Tensor,
    stride: usize,
    groups: usize,
    pads: &[(usize, usize)],
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let ((top, bottom), (left, right)) = (pads[0], pads[1]);
    // candle pads all sides alike.
    let same = [bottom, left, right].iter().all(|side| *side == top);
    let (x, padding) =
        if same { (x.contiguous()?, top) } else { (pad(x, &[(0, 0), (0, 0), pads[0], pads[1]], false)?, 0) };
    let (n, channels, height, width) = x.dims4()?;
    let (out, of_group, kernel_height, kernel_width) = kernel.dims4()?;
    check_elements(&[n, out, height.saturating_add(2 * padding), width.saturating_add(2 * padding)])?;
    if kernel_height > height + 2 * padding || kernel_width > width + 2 * padding {
        candle_core::bail!("a kernel of {kernel_height}x{kernel_width} is larger than the picture");
    }
    let y = if of_group == 1 && groups == channels && out == channels && x.device().is_cpu() {
        x.apply_op2_no_bwd(kernel, &Depthwise { stride, padding })?
    } else {
        x.conv2d(kernel, padding, stride, 1, groups)?
    };
    add_bias(y, bias)
}

fn add_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

fn pad(x: &Tensor, pads: &[(usize, usize)], reflect: bool) -> Result<Tensor> {
    if pads.len() != x.rank() {
        candle_core::bail!("{} pads for {} dimensions", pads.len(), x.rank());
    }
    let sides = x.dims().iter().zip(pads);
    let padded: Vec<usize> = sides.map(|(side, (a, b))| side.saturating_add(*a).saturating_add(*b)).collect();
    check_elements(&padded)?;
    let mut x = x.clone();
    for (axis, &(before, after)) in pads.iter().enumerate().filter(|(_, pads)| **pads != (0, 0)) {
        x = if reflect { mirror(&x, axis, before, after)? } else { x.pad_with_zeros(axis, before, after)? };
    }
    x.contiguous()
}

/// Continues a dimension beyond its ends as if there were mirrors at the last values.
fn mirror(x: &Tensor, axis: usize, before: usize, after: usize) -> Result<Tensor> {
    let side = x.dim(axis)?;
    if before.max(after) >= side {
        candle_core::bail!("{side} numbers cannot be mirrored {before} and {after} times");
    }
    let indices = (1..=before).rev().chain(0..side).chain((side - 1 - after..side - 1).rev());
    let indices: Vec<u32> = indices.map(|index| index as u32).collect();
    let count = indices.len();
    x.contiguous()?.index_select(&Tensor::from_vec(indices, count, x.device())?, axis)
}

fn reshaped(sides: &[usize], wanted: &[i64]) -> Result<Vec<usize>> {
    let all: usize = sides.iter().product();
    let mut shape = Vec::with_capacity(wanted.len());
    let mut rest = None;
    for (index, &side) in wanted.iter().enumerate() {
        shape.push(match side {
            0 => *sides.get(index).ok_or_else(|| candle_core::Error::Msg("0 for no dimension".into()))?,
            -1 if rest.is_none() => {
                rest = Some(index);
                1
            }
            side => {
                usize::try_from(side).map_err(|_| candle_core::Error::Msg(format!("a size of {side}")))?
            }
        });
    }
    check_elements(&shape)?;
    if let Some(index) = rest {
        shape[index] = all.checked_div(shape.iter().product()).unwrap_or(0);
    }
    Ok(shape)
}

fn as_sizes(list: &[i64]) -> std::result::Result<Vec<usize>, String> {
    list.iter().map(|&size| usize::try_from(size).map_err(|_| format!("{size} is no size"))).collect()
}

/// Beginnings and ends of each dimension.
fn in_pairs(pads: &[usize]) -> std::result::Result<Vec<(usize, usize)>, String> {
    if !pads.len().is_multiple_of(2) {
        return Err("its pads are not two for each dimension".into());
    }
    let (before, after) = pads.split_at(pads.len() / 2);
    Ok(before.iter().copied().zip(after.iter().copied()).collect())
}

/// A node's attributes.
struct Attributes<'a>(&'a Node);

impl Attributes<'_> {
    fn get<T>(
        &self,
        name: &str,
        default: T,
        read: impl Fn(&Value) -> Option<T>,
    ) -> std::result::Result<T, String> {
        match self.0.attrs.get(name) {
            None => Ok(default),
            Some(value) => read(value).ok_or_else(|| format!("its attribute {name:?} is {value}")),
        }
    }

    fn float(&self, name: &str, default: f64) -> std::result::Result<f64, String> {
        self.get(name, default, Value::as_f64)
    }

    fn size(&self, name: &str, default: usize) -> std::result::Result<usize, String> {
        self.get(name, default, size)
    }

    fn required(&self, name: &str) -> std::result::Result<usize, String> {
        let value = self.get(name, None, |value| size(value).map(Some))?;
        value.ok_or_else(|| format!("its attribute {name:?} is missing"))
    }

    fn sizes(&self, name: &str, default: &[usize]) -> std::result::Result<Vec<usize>, String> {
        self.get(name, default.to_vec(), |value| value.as_array()?.iter().map(size).collect())
    }

    /// Fails unless the attribute has the one value that is supported, which is also its default.
    fn is(&self, name: &str, supported: &[usize]) -> std::result::Result<(), String> {
        let one_or_many = |value: &Value| {
            size(value).map(|size| vec![size]).or_else(|| value.as_array()?.iter().map(size).collect())
        };
        let value = self.get(name, supported.to_vec(), one_or_many)?;
        if value == supported {
            Ok(())
        } else {
            Err(format!("its attribute {name:?} is {value:?}, not {supported:?}"))
        }
    }

    fn text(&self, name: &str, default: &'static str) -> std::result::Result<&str, String> {
        match self.0.attrs.get(name) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| format!("its attribute {name:?} is {value}")),
        }
    }

    fn stride(&self) -> std::result::Result<usize, String> {
        match self.sizes("strides", &[1, 1])?.as_slice() {
            [a, b] if a == b && *a > 0 => Ok(*a),
            other => Err(format!("its strides are {other:?}")),
        }
    }
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn row(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (1, 1, 1, values.len()), &Device::Cpu).expect("made")
    }

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")
    }

    #[test]
    fn reflection_leaves_out_the_last_value() {
        // The example of the operator's specification.
        let op = Op::Pad { pads: vec![(0, 0), (0, 0), (0, 0), (2, 1)], reflect: true };
        assert_eq!(
            numbers(&op.apply(&[&row(&[1.0, 1.2, 2.3])]).expect("pads")),
            [2.3, 1.2, 1.0, 1.2, 2.3, 1.2]
        );
        let too_far = Op::Pad { pads: vec![(0, 0), (0, 0), (0, 0), (3, 0)], reflect: true };
        assert!(too_far.apply(&[&row(&[1.0, 1.2, 2.3])]).is_err());
    }

    #[test]
    fn sizes_are_kept_given_or_left_over() {
        assert_eq!(reshaped(&[2, 3, 4], &[0, -1]).expect("fits"), [2, 12]);
        assert_eq!(reshaped(&[2, 3, 4], &[1, 24]).expect("fits"), [1, 24]);
        for bad in [&[-2i64][..], &[0, 0, 0, 0], &[-1, -1], &[i64::MAX, 2]] {
            assert!(reshaped(&[2, 3, 4], bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn huge_results_are_refused_before_they_are_made() {
        let x = row(&[1.0; 4096]);
        let column = x.reshape((1, 1, 4096, 1)).expect("reshaped");
        assert!(Op::Add.apply(&[&x, &column]).is_ok());
        let long = Tensor::zeros((1, 1 << 20), candle_core::DType::F32, &Device::Cpu).expect("made");
        let tall = long.reshape((1 << 20, 1)).expect("reshaped");
        let huge = |op: Op, inputs: &[&Tensor]| op.apply(inputs).expect_err("huge").to_string();
        assert!(huge(Op::Mul, &[&long, &tall]).contains("too large"));
        let pads = vec![(0, 0), (0, 0), (usize::MAX, 0), (0, 0)];
        assert!(huge(Op::Pad { pads, reflect: false }, &[&x]).contains("too large"));
        assert!(huge(Op::Resize { scale: (1e9, 1e9), linear: false }, &[&x]).contains("too large"));
    }
}
