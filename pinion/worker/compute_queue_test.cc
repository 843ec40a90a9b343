#include "pinion/worker/compute_queue.h"

#include <gtest/gtest.h>

#include <future>

namespace pinion::worker {
namespace {

TEST(ComputeQueue, JobsTakeTurns) {
  std::string order;
  std::promise<void> gate;
  std::promise<void> done;
  {
    ComputeQueue queue;
    queue.submit("a", [&] { gate.get_future().wait(); });  // until all is queued
    for (int i = 0; i < 4; ++i) queue.submit("a", [&] { order += 'a'; });
    for (int i = 0; i < 2; ++i) queue.submit("b", [&] { order += 'b'; });
    queue.submit("c", [&] { order += 'c'; });
    queue.submit("c", [&] {
      order += 'c';
      done.set_value();
    });
    gate.set_value();
    done.get_future().wait();
  }  // the queue's thread has ended: `order` may be read
  EXPECT_EQ(order.substr(0, 5), "bcabc");
}

TEST(ComputeQueue, WorkOfOneJobStaysInOrder) {
  std::vector<int> order;
  std::promise<void> done;
  ComputeQueue queue;
  for (int i = 0; i < 100; ++i) queue.submit("job", [&, i] { order.push_back(i); });
  queue.submit("job", [&] { done.set_value(); });
  done.get_future().wait();
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), 100u);
}

TEST(ComputeQueue, WhatIsDroppedMayHandInMoreAsItEnds) {
  std::promise<void> started;
  std::promise<void> gate;
  std::atomic<int> freed = 0;
  auto queue = std::make_unique<ComputeQueue>();
  ComputeQueue* raw = queue.get();
  queue->submit("a", [&] {
    started.set_value();
    gate.get_future().wait();
  });
  std::shared_ptr<int> owner(new int(0), [&freed, raw](const int* value) {
    delete value;
    raw->submit("b", [] {});
    ++freed;
  });
  queue->submit("a", [owner = std::move(owner)] {});
  started.get_future().wait();
  std::thread release([&] { gate.set_value(); });
  queue.reset();
  release.join();
  EXPECT_EQ(freed, 1);
}

}  // namespace
}  // namespace pinion::worker
