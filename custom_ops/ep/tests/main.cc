// Tests of the provider's parts that need no ONNX Runtime, under the thread sanitizer. `ep_test NAME` runs one; the
// exit status is 1 with a message if it fails.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ep/arena.h"
#include "ep/team.h"

namespace {

using namespace ivit::ep;

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

// Every task of every operator is done once, whatever their number, with helpers that come and go.
void team_does_every_task_once() {
  constexpr int kRounds = 200;
  constexpr int kOperators = 200;
  for (int round = 0; round < kRounds; ++round) {
    Team team;
    std::vector<std::thread> helpers;
    for (int i = 0; i < round % 4; ++i) helpers.emplace_back([&] { team.help(); });
    for (int number = 0; number < kOperators; ++number) {
      std::vector<int> done(static_cast<size_t>(number % 9));
      team.run(static_cast<int64_t>(done.size()), [&](int64_t task) { done[static_cast<size_t>(task)] += number; });
      for (const int count : done) require(count == number, "a task was left out or done twice");
    }
    team.finish();
    for (std::thread& helper : helpers) helper.join();
  }
}

// An error in a task reaches the leader after the other tasks are done, and the team goes on.
void team_carries_errors() {
  Team team;
  std::thread helper([&] { team.help(); });
  for (int round = 0; round < 1000; ++round) {
    std::atomic<int> done{0};
    std::string message;
    try {
      team.run(6, [&](int64_t task) {
        if (task % 3 == 1) throw std::runtime_error("broken task");
        ++done;
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    require(message == "broken task" && done == 4, "an error was lost, or tasks were");
    team.run(2, [&](int64_t) { ++done; });
    require(done == 6, "the team did not go on");
  }
  team.finish();
  helper.join();
}

// A team that is to stop skips the tasks that are left, says so, and does not begin another operator.
void team_stops() {
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> done{0};
    Team team([&] { return done >= 20; });
    std::vector<std::thread> helpers;
    for (int i = 0; i < round % 3; ++i) helpers.emplace_back([&] { team.help(); });
    int stopped = 0;
    for (int number = 0; number < 3; ++number) {
      try {
        team.run(1000, [&](int64_t) { ++done; });
      } catch (const Stopped&) {
        ++stopped;
      }
    }
    team.finish();
    for (std::thread& helper : helpers) helper.join();
    // Helpers may have done everything before the leader, who asks, had its turn.
    require(stopped == 3 || (stopped == 2 && done == 1000), "an operator was not stopped, or one began afterwards");
    require(!helpers.empty() || done == 20, "the leader went on after the stop, or stopped early");
  }
}

// Values in use at the same time stand in different places, and memory is used again.
void arena_keeps_values_apart() {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<Lifetime> values(random() % 40);
    int64_t sum = 0;
    for (Lifetime& value : values) {
      const int64_t first = random() % 30;
      value = {static_cast<int64_t>(random() % 5000), first, first + static_cast<int64_t>(random() % 5)};
      sum += value.bytes + 128;
    }
    const ArenaLayout layout = plan_arena(values);
    require(layout.bytes <= sum, "an arena is larger than its values");
    for (size_t i = 0; i < values.size(); ++i) {
      require(layout.offsets[i] >= 0 && layout.offsets[i] % 64 == 0, "a value is not aligned");
      require(layout.offsets[i] + values[i].bytes <= layout.bytes, "a value ends behind the arena");
      for (size_t j = 0; j < i; ++j) {
        const bool meet = values[i].first <= values[j].last && values[j].first <= values[i].last;
        const bool overlap = layout.offsets[i] < layout.offsets[j] + values[j].bytes &&
                             layout.offsets[j] < layout.offsets[i] + values[i].bytes;
        require(!meet || !overlap, "two values that meet overlap");
      }
    }
  }
  // A chain, each value needed by the next step only, takes two places.
  std::vector<Lifetime> chain;
  for (int64_t step = 0; step < 50; ++step) chain.push_back({1 << 20, step, step + 1});
  require(plan_arena(chain).bytes < 3 << 20, "places are not used again");
}

struct Test {
  const char* name;
  void (*run)();
};
constexpr Test kTests[] = {{"team_does_every_task_once", team_does_every_task_once},
                           {"team_carries_errors", team_carries_errors},
                           {"team_stops", team_stops},
                           {"arena_keeps_values_apart", arena_keeps_values_apart}};

}  // namespace

int main(int count, char** arguments) {
  for (const Test& test : kTests) {
    if (count == 2 && std::strcmp(arguments[1], "--list") == 0) {
      std::puts(test.name);
    } else if (count == 1 || std::strcmp(arguments[1], test.name) == 0) {
      try {
        test.run();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", test.name, error.what());
        return 1;
      }
    }
  }
}
