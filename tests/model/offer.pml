/*
 * Offers of blocks that are no request's (actors/block_exchange): the owner grants a block to whoever has the
 * offer, the engine carries the offer to READERS readers, and each pulls when it likes, at the same time as others
 * and without a word to the owner. The owner's engine withdraws the offer, or it times out, and writes the block
 * anew as soon as a withdrawal is answered, for OFFERS offers one after the other in the same lease slot.
 *
 * It stands apart from lease.pml because there are no messages between the sessions of both sides here, hence nothing
 * that may be lost, repeated or asked for again: one lease, several readers, and an engine that waits. Each reader
 * pulls PULLS times, each time by the offer of that moment, which it may use much later.
 *
 *   -DUCX  as in lease.pml. The owner gathers for several readers at once, up to BUSY; more are told to come again
 *
 * What may go wrong at any moment: a pull's deadline passes, the offer times out before, while and after it is
 * withdrawn, two callers withdraw it, one of the processes is killed. A stopped process takes no step.
 *
 * What is claimed:
 *   I1  a pull that succeeded holds exactly what was offered
 *   I2  nothing is written into the destination of a pull after its end
 *   I3  a withdrawal is answered whatever the readers do, and then nobody of the owner's process reads the block;
 *       no lease is left
 *   I4  each pull ends exactly once
 *
 * Mutations, each of which must be found (tests/model/run):
 *   -DWITHDRAW_UNREVOKED  a withdrawal leaves the lease granted
 *   -DEXPIRE_UNREVOKED    an offer that timed out is forgotten, but its lease is not taken back
 *   -DANSWER_IF_LEAVING   (UCX) a withdrawal of an offer that is being taken back is answered at once
 *   -DWAIT_FOR_READERS    a withdrawal is answered when the last reader has ended
 *   -DVALIDATE_FOR_ALL    what one reader found granted is taken for good by the other
 *   -DEND_EARLY           a pull ends while its job still runs
 */

#ifndef OFFERS
#define OFFERS 2
#endif
#ifndef READERS
#define READERS 2
#endif
#ifndef PULLS
#define PULLS 1
#endif
#ifndef BUSY
#define BUSY 2
#endif
#define CALLERS 2 /* of withdraw */
#define ENGINE 99

mtype:ending = { none, complete, failed };
mtype:job = { idle, asked, running, valid, invalid, refused };

byte source[2];
byte word; /* the lease: odd = granted */
byte right, offered; /* the newest offer: its lease, and what the block held then */
bool safe = true;    /* a withdrawal was answered: the block is the engine's */
bool owner_dead, owner_done;

/* Of each reader. */
mtype:ending end_of[READERS] = failed; /* none: a pull is under way */
mtype:job job[READERS] = idle;
byte job_right[READERS];
bool aborted[READERS];
byte destination[2 * READERS];
bool dead[READERS], done[READERS];
#ifdef VALIDATE_FOR_ALL
bool found_good[2 * OFFERS + 2]; /* by lease */
#endif

#ifdef UCX
byte gathering; /* how many */
bool retired;   /* session_ledger: nobody enters any more */
chan lane_pull[READERS] = [1] of { byte };
chan lane_chunk[READERS] = [1] of { byte, byte, byte }; /* lease, and both parts; without them: come again */
#endif

/* data_plane::retire begins: the lease is taken back, nobody enters. */
inline leave() {
  leaving = true;
#ifdef UCX
  retired = true;
#endif
  if
  :: word % 2 == 1 -> word++
  :: else -> skip
  fi
}

#ifdef UCX
#define nobody_gathers (gathering == 0)
#else
#define nobody_gathers true
#endif
#ifdef WAIT_FOR_READERS
#define all_left (nobody_gathers && job[0] != running && job[READERS - 1] != running)
#else
#define all_left nobody_gathers
#endif

/* block_exchange of the owner, and its engine. */
proctype owner() {
  byte content = 1, callers;
  bool leaving;
  do
  :: content <= OFFERS ->
     if :: owner_dead -> goto killed :: else -> source[0] = content fi;
     if :: owner_dead -> goto killed :: else -> source[1] = content fi;
     /* block_exchange::offer */
     atomic {
       assert(word % 2 == 0);
       safe = false;
       word++;
       right = word;
       offered = content;
#ifdef UCX
       retired = false; /* another session */
#endif
       leaving = false;
       callers = 0
     }
     do
     :: owner_dead -> goto killed
     /* block_exchange::withdraw */
     :: atomic { !owner_dead && callers < CALLERS ->
        callers++;
#ifdef ANSWER_IF_LEAVING
        if
        :: leaving -> break
        :: else -> skip
        fi;
#endif
#ifdef WITHDRAW_UNREVOKED
        leaving = true
#else
        leave()
#endif
        }
     /* block_exchange::sweep */
#ifdef EXPIRE_UNREVOKED
     :: !owner_dead && !leaving -> break
#else
     :: atomic { !owner_dead && !leaving -> leave() }
#endif
     /* block_exchange::retired. Whoever withdraws from now on is answered at once. */
     :: !owner_dead && leaving && all_left -> break
     od;
     safe = true;
     content++
  :: else -> break
  od;
  if :: owner_dead -> goto killed :: else -> source[0] = ENGINE fi;
  if :: owner_dead -> goto killed :: else -> source[1] = ENGINE fi;
killed:
  owner_done = true
}

#ifdef UCX
/* ucx_owner, for one reader. */
proctype owner_plane(byte r) {
  byte its, first, second;
end:
  do
  :: atomic { lane_pull[r]?its ->
     if
     :: owner_dead || word != its || retired -> its = 0
     :: !(owner_dead || word != its || retired) && gathering < BUSY -> gathering++
     :: !(owner_dead || word != its || retired) && gathering == BUSY ->
        if
        :: nfull(lane_chunk[r]) -> lane_chunk[r]!its, 0, 0
        :: full(lane_chunk[r]) -> skip
        fi;
        its = 0
     fi }
     if
     :: its != 0 ->
        atomic { assert(!safe); /* I3 */ first = source[0] }
        atomic { assert(!safe); second = source[1] }
        atomic {
          if
          :: !owner_dead && word == its && nfull(lane_chunk[r]) -> lane_chunk[r]!its, first, second
          :: owner_dead || word != its || full(lane_chunk[r]) -> skip
          fi;
          gathering--;
          its = 0;
          first = 0;
          second = 0
        }
     :: else -> skip
     fi
  od
}
#endif

inline write(part, value) {
  d_step {
    if
    :: dead[r] || aborted[r] -> skip
    :: else ->
       assert(end_of[r] == none); /* I2 */
       destination[2 * r + part] = value
    fi
  }
}

#ifdef VALIDATE_FOR_ALL
#define granted (word == job_right[r] || found_good[job_right[r]])
#else
#define granted (word == job_right[r])
#endif

/* The data plane of a reader. */
proctype reader_plane(byte r) {
  bool good;
#ifdef UCX
  byte its, first, second;
#endif
end:
  do
#ifdef UCX
  :: atomic { job[r] == asked ->
     job[r] = running;
     if
     :: nfull(lane_pull[r]) -> lane_pull[r]!job_right[r]
     :: full(lane_pull[r]) -> skip
     fi }
     do
     :: atomic { lane_chunk[r]?its, first, second ->
        good = its == job_right[r] && !aborted[r];
        its = 0;
        if
        :: good -> break
        :: else -> skip
        fi }
     :: aborted[r] -> break
     /* The owner is lost, or says that it took the lease back. */
     :: (owner_dead || word != job_right[r]) && gathering == 0 && empty(lane_chunk[r]) && empty(lane_pull[r]) -> break
     od;
     atomic {
       if
       :: good && first == 0 ->
          good = false;
          job[r] = refused
       :: good && first != 0 ->
          write(0, first);
          write(1, second)
       :: else -> skip
       fi;
       first = 0;
       second = 0
#else
  :: atomic { job[r] == asked ->
     job[r] = running;
     write(0, source[0]) }
     if :: dead[r] -> break :: else -> write(1, source[1]) fi;
     atomic {
       good = granted;
#ifdef VALIDATE_FOR_ALL
       found_good[job_right[r]] = good
#endif
#endif
       ;
       if
       :: good && !aborted[r] -> job[r] = valid
       :: job[r] == refused -> skip
       :: else -> job[r] = invalid
       fi;
       good = false
     }
  od
}

inline pull_ends(how) {
  assert(end_of[r] == none); /* I4 */
  end_of[r] = how
}

/* block_exchange of a reader. */
proctype reader(byte r) {
  byte pulls, value;
  do
  :: dead[r] -> goto killed
  :: atomic { !dead[r] && pulls < PULLS && offered != 0 ->
     end_of[r] = none;
     aborted[r] = false;
     pulls++;
     value = offered;
     job_right[r] = right }
     /* Finding the owner and the way to it takes its time. */
     job[r] = asked;
     do
     :: dead[r] -> goto killed
     :: atomic { !dead[r] && job[r] == valid && !aborted[r] ->
        assert(destination[2 * r] == value && destination[2 * r + 1] == value); /* I1 */
        job[r] = idle;
        pull_ends(complete);
        break }
     :: atomic { !dead[r] && (job[r] == invalid || (aborted[r] && (job[r] == valid || job[r] == refused))) ->
        job[r] = idle;
        pull_ends(failed);
        break }
     /* It was busy. */
     :: atomic { !dead[r] && !aborted[r] && job[r] == refused -> job[r] = asked }
     /* The deadline. data_plane::retire: no end before the job has ended. */
     :: atomic { !dead[r] && !aborted[r] ->
#ifdef END_EARLY
        pull_ends(failed);
        break
#else
        aborted[r] = true
#endif
        }
     od;
     atomic {
       destination[2 * r] = ENGINE;
       destination[2 * r + 1] = ENGINE;
       value = 0
     }
  :: !dead[r] && (pulls == PULLS || owner_done) -> break
  od;
killed:
  done[r] = true
}

/* Kills one process at any moment, or none. Its memory stays as it is. */
proctype killer() {
  if
  :: owner_dead = true
  :: dead[0] = true
  :: true
  fi
}

/* After all has ended. */
proctype judge() {
  owner_done && done[0] && done[READERS - 1];
  assert(owner_dead || (word % 2 == 0 && safe)); /* I3 */
  assert(dead[0] || end_of[0] != none);
  assert(dead[READERS - 1] || end_of[READERS - 1] != none)
}

init {
  byte r;
  atomic {
    run owner();
    for (r : 0 .. READERS - 1) {
      destination[2 * r] = ENGINE;
      destination[2 * r + 1] = ENGINE;
#ifdef UCX
      run owner_plane(r);
#endif
      run reader_plane(r);
      run reader(r)
    }
    run killer();
    run judge()
  }
}
