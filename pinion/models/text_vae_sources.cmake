target_sources(pinion_models PRIVATE
  forward_text.cc forward_vae.cc json_file.cc sampling.cc text_encoder.cc
  flux2_vae/flux2_vae.cc flux2_vae/flux2_vae_model.cc flux2_vae/flux2_vae_names.cc flux2_vae/flux2_vae_spec.cc
  flux2_vae/flux2_vae_weights.cc
  qwen3/qwen3_config.cc qwen3/qwen3_model.cc qwen3/qwen3_prompt.cc qwen3/qwen3_text_encoder.cc
  qwen3/qwen3_weights.cc)
target_link_libraries(pinion_models PUBLIC pinion_tokenizer)

pinion_models_test(sampling_test SOURCES sampling_test.cc TIMEOUT 30)
pinion_models_test(qwen3_test SOURCES qwen3/qwen3_test.cc TIMEOUT 60)
pinion_models_test(flux2_vae_test SOURCES flux2_vae/flux2_vae_test.cc TIMEOUT 60)
pinion_models_test(tiny_text_vae_test SOURCES tiny_text_vae_test.cc TIMEOUT 60)
