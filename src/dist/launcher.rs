//! Whether this process is one of several that a launcher has started.

/// What the launcher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// How many processes it has started.
    pub size: usize,
    /// The environment variable that says so.
    pub variable: &'static str,
}

/// Variables that hold the number of processes: Open MPI's `mpirun`, MVAPICH's, and that of MPICH, Intel MPI and
/// whoever else speaks PMI. The innermost launcher comes first.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE"];

/// Whether a launcher has started this process as one of a group, which may have one member.
pub fn launched() -> Option<Launched> {
    among(|name| std::env::var(name).ok())
}

fn among(variable: impl Fn(&str) -> Option<String>) -> Option<Launched> {
    let size = |name: &str| variable(name)?.trim().parse().ok().filter(|size: &usize| *size > 0);
    let told = SIZES.iter().find_map(|name| Some(Launched { size: size(name)?, variable: name }));
    // Slurm sets SLURM_NTASKS in batch scripts too, where this may be the only process. A step is what srun starts;
    // its number is set within it only.
    let step = || {
        variable("SLURM_STEP_ID")?;
        let name = "SLURM_STEP_NUM_TASKS";
        Some(Launched { size: size(name)?, variable: name })
    };
    told.or_else(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Option<(usize, &'static str)> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        among(variable).map(|launched| (launched.size, launched.variable))
    }

    #[test]
    fn launchers_are_told_by_their_variables() {
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("OMPI_COMM_WORLD_SIZE", "4")]), Some((4, "OMPI_COMM_WORLD_SIZE")));
        assert_eq!(told(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), Some((2, "PMI_SIZE")));
        assert_eq!(told(&[("OMPI_COMM_WORLD_SIZE", ""), ("PMI_SIZE", "zero")]), None);
        let step = [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_NTASKS", "16")];
        assert_eq!(told(&step), Some((8, "SLURM_STEP_NUM_TASKS")));
        let mpirun_within_a_step = [step[0], step[1], ("OMPI_COMM_WORLD_SIZE", "64")];
        assert_eq!(told(&mpirun_within_a_step), Some((64, "OMPI_COMM_WORLD_SIZE")));
    }

    #[test]
    fn a_batch_script_of_slurm_is_no_launcher() {
        assert_eq!(told(&[("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), None);
    }
}
