#include "pinion/codec/video/x265_video_codec.h"
#include <gtest/gtest.h>
#include <random>
namespace pinion::codec { namespace {
TEST(Probe, All) {
  auto codec = create_x265_video_codec();
  for (auto format : {PictureFormat::kGrey, PictureFormat::kGreyIn420, PictureFormat::k444})
  for (auto effort : {CodingEffort::kFast, CodingEffort::kThorough})
  for (bool lossless : {true, false}) for (int threads : {1,2}) {
    PictureKind kind{256, 144, format};
    auto e = codec->open_encoder({.kind=kind,.lossless=lossless,.qp=10,.effort=effort,.threads=threads});
    if (!e.ok()) { printf("open: %s\n", e.error().message().c_str()); continue; }
    auto d = codec->open_decoder(kind, threads);
    std::mt19937 rng(1); size_t bytes[6]; 
    Tensor t = Tensor::empty(DType::kU8, kind.shape()); auto* p = reinterpret_cast<uint8_t*>(t.mutable_data());
    for (size_t i=0;i<t.bytes();++i) p[i]=uint8_t(128+int(rng()%31)-15);
    for (int s=0;s<6;++s) {
      for (size_t i=0;i<t.bytes();++i) p[i]=uint8_t(p[i]+(rng()%3)-1);
      auto c = (*e)->encode(t, s==3);
      if (!c.ok()) { printf("enc: %s\n", c.error().message().c_str()); break; }
      bytes[s]=c->access_unit.size();
      auto r = (*d)->decode(c->access_unit);
      if (!r.ok()) { printf("f%d dec %d key %d: %s\n", int(format), s, c->key, r.error().message().c_str()); continue; }
      double err=0; auto* q = reinterpret_cast<const uint8_t*>(r->view().data);
      for (size_t i=0;i<t.bytes();++i) err+=(p[i]-q[i])*(p[i]-q[i]);
      printf("f%d e%d l%d t%d s%d key %d bytes %zu mse %f\n", int(format), int(effort), lossless, threads, s, c->key, bytes[s], err/t.bytes());
    }
  }
}
} }
