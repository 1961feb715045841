//! The Runtime Discovery Service: runtime layers.

use super::compile::{Compiled, Compiler};
use super::discovery::find;
use super::snapshot::Snapshot;
use super::value::Scalar;
use crate::protobuf::Runtime;
use prost_types::value::Kind;
use prost_types::{Any, Struct};

/// The type of the resource.
pub const TYPE_URL: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
/// The gRPC service.
pub const SERVICE: &str = "envoy.service.runtime.v3.RuntimeDiscoveryService";
/// The method of the service.
pub const METHOD: &str = "StreamRuntime";

/// The values of the runtime layer `name` under `prefix`. Without that layer, nothing changes.
///
/// # Errors
/// Why the response cannot be used.
pub fn read(
    resources: &[Any],
    name: &str,
    prefix: &str,
    version: u64,
    last: &Snapshot,
) -> Result<Option<Compiled>, String> {
    let runtime = find(resources, TYPE_URL, name, |runtime: &Runtime| &runtime.name)?;
    Ok(runtime.map(|runtime| {
        let mut compiler = Compiler::new(prefix, last);
        add_entries(&runtime.layer.unwrap_or_default(), &mut String::new(), &mut compiler);
        compiler.finish(version)
    }))
}

/// Adds every entry of a runtime layer. The names of nested objects are joined by dots.
fn add_entries(layer: &Struct, path: &mut String, compiler: &mut Compiler<'_>) {
    let outer = path.len();
    for (name, value) in &layer.fields {
        if outer != 0 {
            path.push('.');
        }
        path.push_str(name);
        match &value.kind {
            Some(Kind::NumberValue(number)) => compiler.add(path, Scalar::Number(*number)),
            Some(Kind::StringValue(text)) => compiler.add(path, Scalar::Text(text)),
            Some(Kind::BoolValue(truth)) => compiler.add(path, Scalar::Bool(*truth)),
            Some(Kind::StructValue(inner)) => {
                // An object where a number is expected is a mistake.
                compiler.add(path, Scalar::Other);
                add_entries(inner, path, compiler);
            }
            Some(Kind::NullValue(_) | Kind::ListValue(_)) | None => compiler.add(path, Scalar::Other),
        }
        path.truncate(outer);
    }
}
