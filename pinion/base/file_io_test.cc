#include "pinion/base/file_io.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "pinion/base/user_folders.h"

namespace pinion {
namespace {

namespace fs = std::filesystem;

class FileIo : public testing::Test {
 protected:
  FileIo() {
    std::string name = (fs::temp_directory_path() / "pinion-file-io-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~FileIo() override { fs::remove_all(folder_); }

  std::size_t files_in_folder() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(FileIo, WritesReadsAndMaps) {
  const fs::path path = folder_ / "made" / "on" / "the-way.bin";
  ASSERT_TRUE(write_file(path, as_bytes("content")).ok());
  const auto read = read_file(path, 7);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(as_text(*read), "content");
  const auto mapped = MappedFile::open(path);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(as_text((*mapped)->bytes()), "content");
  EXPECT_EQ((*mapped)->path(), path);
}

TEST_F(FileIo, EmptyFileIsFine) {
  const fs::path path = folder_ / "empty";
  ASSERT_TRUE(write_file(path, {}).ok());
  EXPECT_TRUE(read_file(path, 0).value().empty());
  EXPECT_TRUE(MappedFile::open(path).value()->bytes().empty());
}

TEST_F(FileIo, ReplacesAsAWholeAndLeavesNothingBeside) {
  const fs::path path = folder_ / "file";
  ASSERT_TRUE(write_file(path, as_bytes("the first, longer content")).ok());
  ASSERT_TRUE(write_file(path, as_bytes("second")).ok());
  EXPECT_EQ(as_text(*read_file(path, 100)), "second");
  EXPECT_EQ(files_in_folder(), 1u);
}

// A reader that opens the file over and over while it is replaced sees one content or the other.
TEST_F(FileIo, ReaderNeverSeesHalfAFile) {
  const fs::path path = folder_ / "file";
  const std::string first(50'000, 'a');
  const std::string second(70'000, 'b');
  ASSERT_TRUE(write_file(path, as_bytes(first)).ok());
  std::atomic<bool> stop = false;
  std::atomic<bool> torn = false;
  std::thread reader([&] {
    while (!stop) {
      const auto content = read_file(path, 100'000);
      if (!content.ok() || (as_text(*content) != first && as_text(*content) != second)) torn = true;
    }
  });
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(write_file(path, as_bytes(i % 2 == 0 ? second : first)).ok());
  stop = true;
  reader.join();
  EXPECT_FALSE(torn);
}

TEST_F(FileIo, MappingOutlivesReplacement) {
  const fs::path path = folder_ / "file";
  ASSERT_TRUE(write_file(path, as_bytes("old")).ok());
  const auto mapped = MappedFile::open(path).value();
  ASSERT_TRUE(write_file(path, as_bytes("new")).ok());
  EXPECT_EQ(as_text(mapped->bytes()), "old");
}

TEST_F(FileIo, SetsThePermissionsItIsAsked) {
  const fs::path path = folder_ / "secret";
  ASSERT_TRUE(write_file(path, as_bytes("key"), 0600).ok());
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  ASSERT_TRUE(write_file(path, as_bytes("key"), 0644).ok());
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0644u);
}

TEST_F(FileIo, RefusesWhatIsTooLarge) {
  const fs::path path = folder_ / "file";
  ASSERT_TRUE(write_file(path, as_bytes("12345")).ok());
  const auto read = read_file(path, 4);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, Errc::kTooLarge);
  EXPECT_EQ(read.error().text, path.string() + " has 5 bytes, the limit is 4");
}

TEST_F(FileIo, SaysWhichFileIsMissing) {
  const fs::path path = folder_ / "none";
  for (const Error& error : {read_file(path, 10).error(), MappedFile::open(path).error()}) {
    EXPECT_EQ(error.code, Errc::kNotFound);
    EXPECT_NE(error.text.find(path.string()), std::string::npos) << error.text;
  }
}

// Opening a pipe for reading would wait for a writer for ever.
TEST_F(FileIo, RefusesFoldersAndPipesAtOnce) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const fs::path& path : {folder_, pipe}) {
    EXPECT_EQ(read_file(path, 10).error().code, Errc::kIo) << path;
    EXPECT_EQ(MappedFile::open(path).error().text, path.string() + " is not a regular file");
  }
}

TEST_F(FileIo, FailedWriteLeavesTheOldContent) {
  const fs::path target = folder_ / "target";
  fs::create_directories(target / "child");
  const auto onto_folder = write_file(target, as_bytes("x"));
  ASSERT_FALSE(onto_folder.ok());
  EXPECT_EQ(onto_folder.error().code, Errc::kIo);
  EXPECT_TRUE(fs::is_directory(target));
  EXPECT_EQ(files_in_folder(), 1u) << "the temporary file must be gone";

  const fs::path below_a_file = folder_ / "file" / "child";
  ASSERT_TRUE(write_file(folder_ / "file", as_bytes("kept")).ok());
  EXPECT_FALSE(write_file(below_a_file, as_bytes("x")).ok());
  EXPECT_EQ(as_text(*read_file(folder_ / "file", 10)), "kept");
}

TEST(UserFolders, FollowTheEnvironment) {
  const auto set = [](const char* key, const char* value) {
    value != nullptr ? ::setenv(key, value, 1) : ::unsetenv(key);
  };
  set("PINION_CONFIG_DIR", "/own");
  set("XDG_CONFIG_HOME", "/xdg");
  set("HOME", "/home/someone");
  EXPECT_EQ(config_folder(), "/own");
  set("PINION_CONFIG_DIR", "");
  EXPECT_EQ(config_folder(), "/xdg/pinion");
  set("XDG_CONFIG_HOME", nullptr);
  EXPECT_EQ(config_folder(), "/home/someone/.config/pinion");
  set("PINION_CACHE_DIR", nullptr);
  set("XDG_CACHE_HOME", nullptr);
  EXPECT_EQ(cache_folder(), "/home/someone/.cache/pinion");
}

}  // namespace
}  // namespace pinion
