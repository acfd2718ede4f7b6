//! O1: what a body takes is bounded, however little of it there is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::Ordering;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use kapi::ApiServer;
use kapi::auth::Identity;
use kstore::MemoryStore;
use tower::ServiceExt as _;

/// The largest body, in bytes, and what one may take at its peak. It is decoded into one form
/// after the other, each within 64 MiB: as sent, as it is held against its schema, as a type.
const BODY: usize = 3 << 20;
const MOST: usize = 192 << 20;

/// Counts what is allocated.
mod counting {
    #![allow(unsafe_code, reason = "an allocator that counts can only be written so")]
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Bytes that are allocated now, and the most there have been.
    pub(crate) static NOW: AtomicUsize = AtomicUsize::new(0);
    pub(crate) static PEAK: AtomicUsize = AtomicUsize::new(0);

    struct Counting;

    // SAFETY: every call is passed to the system's allocator as it came.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            PEAK.fetch_max(now, Ordering::Relaxed);
            // SAFETY: as this function's caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            NOW.fetch_sub(layout.size(), Ordering::Relaxed);
            // SAFETY: as this function's caller promises.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static COUNTING: Counting = Counting;
}

/// Sends a request; returns the code, the message, and the peak of what was allocated meanwhile.
async fn send(api: &ApiServer, request: Request<Full<bytes::Bytes>>) -> (u16, String, usize) {
    let service = api.service_as(Identity::admin());
    let before = counting::NOW.load(Ordering::Relaxed);
    counting::PEAK.store(before, Ordering::Relaxed);
    let response = service.oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let peak = counting::PEAK.load(Ordering::Relaxed) - before;
    let reply: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (code, reply["message"].as_str().unwrap_or_default().to_owned(), peak)
}

fn request(
    method: &str,
    path: &str,
    media_type: &str,
    body: Vec<u8>,
) -> Request<Full<bytes::Bytes>> {
    assert!(body.len() <= BODY, "{} bytes", body.len());
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", media_type);
    request.body(Full::new(body.into())).unwrap()
}

/// As many elements as the largest body has room for, between two texts.
fn full(before: &str, element: &str, after: &str) -> Vec<u8> {
    let room = BODY - before.len() - after.len();
    let elements = vec![element; room / (element.len() + 1)].join(",");
    format!("{before}{elements}{after}").into_bytes()
}

fn varint(mut number: usize, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    into.push(u8::try_from(number).unwrap());
}

/// A field of a protobuf message that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    varint(content.len(), &mut field);
    field.extend_from_slice(content);
    field
}

/// A Pod with nothing in any of its containers, in protobuf: two bytes for each.
fn containers_in_protobuf() -> Vec<u8> {
    let containers = [2 << 3 | 2, 0].repeat((BODY - 100) / 2);
    let type_meta = field(1, &[field(1, b"v1"), field(2, b"Pod")].concat());
    let pod = field(2, &containers);
    [b"k8s\0".to_vec(), type_meta, field(2, &pod)].concat()
}

/// What is sent, and the field that its refusal names.
type Case = (Request<Full<bytes::Bytes>>, &'static str);

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Objects full of elements with nothing in them.
fn objects() -> Vec<Case> {
    let create = |path: &str, before: &str, after: &str| {
        request("POST", path, "application/json", full(before, "{}", after))
    };
    let unchecked = format!("{PODS}?fieldValidation=Ignore");
    let binding = format!("{PODS}/p/binding");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let schema = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"allOf":["#;
    let protobuf = "application/vnd.kubernetes.protobuf";
    vec![
        (create(PODS, r#"{"spec":{"containers":["#, "]}}"), "spec.containers"),
        (create(&unchecked, r#"{"spec":{"containers":["#, "]}}"), "spec.containers"),
        (create(PODS, r#"{"spec":{"volumes":["#, "]}}"), "spec.volumes"),
        (create(definitions, schema, "]}}}]}}"), "spec.versions.schema.openAPIV3Schema.allOf"),
        (create(&binding, r#"{"metadata":{"managedFields":["#, "]}}"), "metadata.managedFields"),
        (request("POST", PODS, protobuf, containers_in_protobuf()), "Pod.spec.containers"),
    ]
}

/// Patches full of small objects.
fn patches() -> Vec<Case> {
    let change = |form: &str, before: &str, after: &str| {
        let path = format!("{MAPS}/kube?fieldManager=m");
        let form = format!("application/{form}");
        request("PATCH", &path, &form, full(before, r#"{"a":1}"#, after))
    };
    let operation = r#"[{"op":"add","path":"/data","value":["#;
    vec![
        (change("merge-patch+json", r#"{"a":["#, "]}"), "a"),
        (change("strategic-merge-patch+json", r#"{"a":["#, "]}"), "a"),
        (change("apply-patch+yaml", r#"{"a":["#, "]}"), "a"),
        (change("json-patch+json", operation, "]}]"), "value"),
    ]
}

/// Bodies that are just light enough to be decoded, and take what they can behind that.
fn light() -> Vec<(&'static str, Request<Full<bytes::Bytes>>)> {
    let post = |path: &str, body: String| request("POST", path, "application/json", body.into());
    let many = |element: &str, count: usize| vec![element; count].join(",");
    let named =
        |count: usize| -> Vec<String> { (0..count).map(|at| format!("\"k{at}\":\"\"")).collect() };
    let containers = many("{}", 10_000);
    let labels = named(220_000).join(",");
    vec![
        ("fewer containers", post(PODS, format!(r#"{{"spec":{{"containers":[{containers}]}}}}"#))),
        ("labels", post(MAPS, format!(r#"{{"metadata":{{"name":"a","labels":{{{labels}}}}}}}"#))),
        (
            "quantities that are numbers",
            post(
                PODS,
                format!(
                    r#"{{"spec":{{"containers":[{{"resources":{{"limits":{{{}}}}}}}]}}}}"#,
                    named(200_000).join(",").replace("\"\"", "1")
                ),
            ),
        ),
    ]
}

// One test: what others allocate would be counted with it.
#[tokio::test]
async fn the_smallest_elements_of_the_largest_body_take_bounded_memory_o1() {
    let api = ApiServer::new(MemoryStore::new());
    let made = request("POST", MAPS, "application/json", br#"{"metadata":{"name":"kube"}}"#.into());
    assert_eq!(send(&api, made).await.0, 201);
    let mut worst = Vec::new();
    for (request, field) in objects().into_iter().chain(patches()) {
        let name = format!("{} {}", request.method(), request.uri());
        let (code, message, peak) = send(&api, request).await;
        let refused = matches!(code, 413 | 400);
        if !refused || !message.contains(&format!(" {field}: ")) || peak > MOST {
            worst.push(format!("{name} {field}: {} MiB, {code} {message}", peak >> 20));
        }
    }
    for (name, request) in light() {
        let (code, _, peak) = send(&api, request).await;
        if code < 400 || peak > MOST {
            worst.push(format!("{name}: {} MiB, {code}", peak >> 20));
        }
    }
    assert!(worst.is_empty(), "{}", worst.join("\n"));
    // What is large and holds much is taken, if it is what people write.
    let data: Vec<String> = (0..15_000).map(|at| format!("\"key-{at}\":\"{at:50}\"")).collect();
    let large = format!(r#"{{"metadata":{{"name":"large"}},"data":{{{}}}}}"#, data.join(","));
    let large = request("POST", MAPS, "application/json", large.into());
    let (code, message, peak) = send(&api, large).await;
    assert!(code == 201 && peak < MOST, "{} MiB, {code} {message}", peak >> 20);
}
