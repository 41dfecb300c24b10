use crate::running::{Vision, png};

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_gets_five_labels_and_what_each_model_said() {
    let vision = Vision::start().await;
    let (status, answer) = vision.classify(png(1)).await;
    assert_eq!(status, 200, "{answer}");
    let top = answer["top"].as_array().unwrap();
    assert_eq!(top.len(), 5, "{answer}");
    assert_eq!(answer["label"], top[0]["label"]);
    assert_eq!(answer["models"][0]["model"], "efficientnetb0");
    assert_eq!(answer["models"][1]["model"], "mobilenetv2");
    assert_eq!(answer["image"]["format"], "png");
    assert_eq!(answer["image"]["width"], 96);
    assert_eq!(answer["traceId"].as_str().unwrap().len(), 32);
    assert!(answer.get("degraded").is_none(), "{answer}");
}
