//! Cases of [`Images`](crate::runtime::Images) and of the runtime as a whole.
#![allow(missing_docs, reason = "a case is named by what it holds")]

use super::Program;
use super::world::World;
use crate::Error;
use crate::runtime::PullOptions;

async fn pulled(world: &World) -> String {
    let image = world.config("c", &Program::Sleep).image;
    world.runtime().images().pull(&image, PullOptions::default()).await.unwrap();
    image
}

pub async fn pull_makes_an_image_present(world: World) {
    let image = pulled(&world).await;
    let id = world.runtime().images().pull(&image, PullOptions::default()).await.unwrap();
    let present = world.runtime().images().status(&image).await.unwrap().unwrap();
    assert_eq!(present.id, id);
    assert!(!id.is_empty());
}

pub async fn pull_of_an_unknown_image_fails(world: World) {
    let image = world.fixture().unknown_image();
    match world.runtime().images().pull(&image, PullOptions::default()).await {
        Err(Error::ImagePull { image: named, .. }) => assert_eq!(named, image),
        other => panic!("{other:?}"),
    }
}

pub async fn status_of_an_absent_image_is_none(world: World) {
    let image = world.fixture().unknown_image();
    assert_eq!(world.runtime().images().status(&image).await.unwrap(), None);
}

pub async fn list_images_holds_what_was_pulled(world: World) {
    let image = pulled(&world).await;
    let id = world.runtime().images().status(&image).await.unwrap().unwrap().id;
    let images = world.runtime().images().list().await.unwrap();
    assert!(images.iter().any(|present| present.id == id), "{images:?}");
}

pub async fn remove_image_is_idempotent(world: World) {
    let image = pulled(&world).await;
    for _ in 0..2 {
        world.runtime().images().remove(&image).await.unwrap();
        assert_eq!(world.runtime().images().status(&image).await.unwrap(), None);
    }
    world.runtime().images().remove(&world.fixture().unknown_image()).await.unwrap();
}

pub async fn fs_info_names_where_images_are(world: World) {
    let usage = world.runtime().images().fs_info().await.unwrap();
    assert!(!usage.is_empty());
    assert!(usage.iter().all(|fs| !fs.mount_point.as_os_str().is_empty()), "{usage:?}");
}

pub async fn version_names_the_runtime(world: World) {
    let version = world.runtime().version().await.unwrap();
    assert!(!version.name.is_empty() && !version.version.is_empty(), "{version:?}");
}

pub async fn status_reports_a_ready_runtime(world: World) {
    let status = world.runtime().status().await.unwrap();
    assert!(status.runtime.ready && status.network.ready, "{status:?}");
}
