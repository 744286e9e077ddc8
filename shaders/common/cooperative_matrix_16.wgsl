// Cooperative matrices of 16 by 16: operands in half precision, sums in f32.
alias OfA = coop_mat16x16<f16, A>;
alias OfB = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
const SIDE: u32 = 16u;
