use crate::running::{Vision, json, png, sample};

#[tokio::test(flavor = "multi_thread")]
async fn a_response_has_five_labels_and_every_vote() {
    let vision = Vision::start().await;
    let (status, response) = vision.classify(png(1)).await;
    assert_eq!(status, 200, "{response}");
    let top = response["top"].as_array().unwrap();
    assert_eq!(top.len(), 5, "{response}");
    assert_eq!(response["label"], top[0]["label"]);
    assert_eq!(response["models"][0]["model"], "efficientnetb0");
    assert_eq!(response["models"][1]["model"], "mobilenetv2");
    assert_eq!(response["image"]["format"], "png");
    assert_eq!(response["image"]["width"], 96);
    assert_eq!(response["traceId"].as_str().unwrap().len(), 32);
    assert!(response.get("degraded").is_none(), "{response}");
}

/// A form as `curl -F image=@picture.png` sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_in_a_form_is_classified() {
    let vision = Vision::start().await;
    let head = "--xyz\r\nContent-Disposition: form-data; name=\"image\"; filename=\"picture.png\"\r\n\
                Content-Type: image/png\r\n\r\n";
    let form = [head.as_bytes(), &png(1), b"\r\n--xyz--\r\n"].concat();
    let url = format!("http://{}/classify", vision.preprocessing.address);
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", "multipart/form-data; boundary=xyz")
        .body(form);
    let (status, response) = json(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["image"]["format"], "png");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_models_and_the_vote_find_the_label() {
    const PICTURES: u64 = 20;
    let vision = Vision::start().await;
    let mut named = [0; 3];
    for seed in 0..PICTURES {
        let sample = sample(seed);
        let upload = if seed % 2 == 0 {
            sample.png()
        } else {
            sample.jpeg()
        };
        let (status, response) = vision.classify(upload.unwrap()).await;
        assert_eq!(status, 200, "{response}");
        let labels = [0, 1].map(|model| &response["models"][model]["top"][0]["label"]);
        let all = [&response["label"], labels[0], labels[1]];
        for (named, label) in named.iter_mut().zip(all) {
            *named += u64::from(label == sample.label.as_str());
        }
    }
    // The models are right far more often; chance alone gives 1 of 20.
    assert!(
        named.iter().all(|named| *named >= PICTURES - 3),
        "{named:?}"
    );
}
